package dnscache

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

// dnsMessage is the media type of queries and replies: RFC 8484, section 6.
const dnsMessage = "application/dns-message"

// httpsExchange sends queries to one server over HTTPS, over HTTP/2 where it
// speaks that: RFC 8484.
type httpsExchange struct {
	url       string
	addrs     []string // ip:port; where the server is
	next      atomic.Uint32
	transport *http.Transport
}

func (r *Resolver) newHTTPSExchange(n serverName, config *tls.Config, timeout time.Duration) *httpsExchange {
	x := &httpsExchange{url: n.url}
	for _, a := range n.addrs {
		x.addrs = append(x.addrs, a.String())
	}
	config.NextProtos = []string{"h2", "http/1.1"} // as net/http would, did it do the handshake
	x.transport = &http.Transport{
		DialTLSContext: func(context.Context, string, string) (net.Conn, error) {
			return x.dial(r, config, timeout)
		},
		ForceAttemptHTTP2:   true,
		MaxIdleConnsPerHost: maxStreams,
		MaxConnsPerHost:     maxStreams, // else net/http dials for each query that comes before the first connection stands
		IdleConnTimeout:     streamIdle,
		HTTP2:               &http.HTTP2Config{SendPingTimeout: timeout, PingTimeout: timeout},
	}
	return x
}

// dial connects to the server without looking its name up, to another of its
// addresses if one fails. Those not yet tried share the time that is left.
func (x *httpsExchange) dial(r *Resolver, config *tls.Config, timeout time.Duration) (conn net.Conn, err error) {
	deadline := time.Now().Add(timeout)
	for tried := range x.addrs {
		i := x.next.Load()
		left := time.Until(deadline) / time.Duration(len(x.addrs)-tried)
		if conn, err = r.dialHTTPS(x.addrs[int(i%uint32(len(x.addrs)))], config, left); err == nil {
			return conn, nil
		}
		x.next.CompareAndSwap(i, i+1)
	}
	return nil, err
}

// dialHTTPS connects to one address, with TLS. It does not mind the context of
// net/http, which would dial on beyond Close.
func (r *Resolver) dialHTTPS(addr string, config *tls.Config, timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(r.ctx, timeout)
	defer cancel()
	conn, err := r.dial(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	if conn, err = r.keep(conn); err != nil {
		return nil, err
	}
	secure := tls.Client(conn, config) // net/http knows HTTP/2 by this very type
	if err := r.handshake(ctx, secure); err != nil {
		return nil, err
	}
	return secure, nil
}

// keep has Close close a connection that net/http owns.
func (r *Resolver) keep(conn net.Conn) (net.Conn, error) {
	kept := &keptConn{conn, r}
	if !r.own(nil, kept) {
		conn.Close()
		return nil, net.ErrClosed
	}
	return kept, nil
}

type keptConn struct {
	net.Conn
	r *Resolver
}

func (c *keptConn) Close() error {
	c.r.disown(c)
	return c.Conn.Close()
}

// sendHTTPS sends q in a request of its own.
func (r *Resolver) sendHTTPS(q *query) {
	ctx, cancel := context.WithTimeout(r.ctx, r.lookupTime())
	if !q.begin(cancel) {
		cancel()
		return
	}
	r.counters.tcp.Add(1)
	if !r.own(func() {
		defer cancel()
		reply, age, err := q.server.https.exchange(ctx, q.message)
		switch {
		case errors.Is(ctx.Err(), context.Canceled): // nobody waits any more
			return
		case err != nil:
			r.sendFailed(q, err)
			return
		}
		q.age = age
		r.acceptStream(q, reply, time.Now())
	}, nil) {
		cancel()
		r.sendFailed(q, net.ErrClosed)
	}
}

// begin has abandon call cancel. It returns false if nobody waits any more.
func (q *query) begin(cancel func()) bool {
	q.server.mu.Lock()
	defer q.server.mu.Unlock()
	q.cancel = cancel
	q.server.sent++
	return !q.over.Load()
}

// exchange returns the server's reply, and for how long an HTTP cache has
// kept it: RFC 8484, section 5.1. The id of the query is 0 (section 4.1).
func (x *httpsExchange) exchange(ctx context.Context, query []byte) (reply []byte, age time.Duration, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, x.url, bytes.NewReader(query))
	if err != nil {
		return nil, 0, err
	}
	req.Header.Set("Content-Type", dnsMessage)
	req.Header.Set("Accept", dnsMessage)
	req.Header.Set("User-Agent", "") // says nothing of who asks: section 8.2
	resp, err := x.transport.RoundTrip(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	reply, err = io.ReadAll(io.LimitReader(resp.Body, maxMessage+1))
	kind, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")) // "" if it is none
	switch {
	case err != nil:
		return nil, 0, err
	case resp.StatusCode != http.StatusOK:
		return nil, 0, fmt.Errorf("HTTP status %s", resp.Status)
	case kind != dnsMessage:
		return nil, 0, fmt.Errorf("the content type of the reply is %q, not %s", kind, dnsMessage)
	case !matches(query, reply) || len(reply) > maxMessage:
		return nil, 0, errForeign
	}
	seconds, _ := strconv.ParseUint(resp.Header.Get("Age"), 10, 31)
	return reply, time.Duration(seconds) * time.Second, nil
}
