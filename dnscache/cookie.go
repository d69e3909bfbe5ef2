package dnscache

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/netip"

	"github.com/miekg/dns"
)

const (
	clientCookieSize = 8  // RFC 7873, section 4.1
	minServerCookie  = 8  // RFC 7873, section 4.2
	maxServerCookie  = 32 // the same
)

// A cookieJar holds a server's cookies: RFC 7873. server.mu protects it.
type cookieJar struct {
	client [clientCookieSize]byte
	server []byte     // as last received; nil: the server has given none
	local  netip.Addr // ours
}

// newCookie is the client's cookie for a server that has seen none.
func newCookie() (c [clientCookieSize]byte) {
	_, _ = rand.Read(c[:]) // never fails: see its documentation
	return c
}

// moved notes our address, and makes a new cookie when it has changed, so
// that nobody can tell by the cookie that it is us again: RFC 7873, section
// 4.1.
func (c *cookieJar) moved(local net.Addr) {
	u, ok := local.(*net.UDPAddr)
	if !ok {
		return
	}
	a := u.AddrPort().Addr()
	if c.local.IsValid() && a != c.local {
		*c = cookieJar{client: newCookie()}
	}
	c.local = a
}

// cookie is what to send to the server.
func (c *cookieJar) cookie() []byte {
	return append(c.client[:len(c.client):len(c.client)], c.server...)
}

// cookieVerdict is what a reply's cookie says of it.
type cookieVerdict uint8

const (
	cookieGood  cookieVerdict = iota
	cookieBad                 // somebody else may have sent the reply
	cookieStale               // the server wants to be asked again, with the cookie it has sent: BADCOOKIE
)

// checkCookie takes in the cookie of a reply to q that came over UDP: RFC 7873,
// section 5.3. When one is missing, from now on none is expected of the
// server until it gives one again: it may have been replaced by one without
// cookies, and whoever has forged this reply has to guess right twice.
func (s *server) checkCookie(q *query, reply []byte) cookieVerdict {
	if !hasOPT(q.message) {
		return cookieGood // to a query without a cookie
	}
	var m dns.Msg
	if m.Unpack(reply) != nil {
		return cookieGood // not for us to judge
	}
	var cookie []byte
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if c, ok := o.(*dns.EDNS0_COOKIE); ok {
				cookie, _ = hex.DecodeString(c.Cookie)
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if bytes.Equal(cookie, s.cookies.client[:]) {
		cookie = nil // it returns whatever options it gets
	}
	n := len(cookie) - clientCookieSize
	switch {
	case cookie == nil && s.cookies.server == nil: // it does not know cookies
		return cookieGood
	case cookie == nil:
		s.cookies.server = nil
		return cookieBad
	case n < minServerCookie || n > maxServerCookie || !bytes.Equal(cookie[:clientCookieSize], s.cookies.client[:]):
		return cookieBad
	}
	s.cookies.server = bytes.Clone(cookie[clientCookieSize:])
	if m.Rcode == dns.RcodeBadCookie {
		return cookieStale
	}
	return cookieGood
}
