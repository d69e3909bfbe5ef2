package dnscache

import (
	"crypto/tls"
	"sync"
	"sync/atomic"
	"time"
)

// protocol is how a nameserver is spoken to.
type protocol uint8

const (
	overUDP   protocol = iota // TCP where UDP will not do
	overTCP                   // RFC 7766
	overTLS                   // RFC 7858
	overHTTPS                 // RFC 8484
)

// A server is one nameserver: its connections and its health.
type server struct {
	protocol protocol
	addr     string         // to dial: ip:port
	name     string         // as errors and Stats call it
	tls      *tls.Config    // overTLS, overHTTPS
	https    *httpsExchange // overHTTPS
	noEDNS   atomic.Int64   // until then it is asked without EDNS; on the resolver's clock

	mu        sync.Mutex // protects what follows
	lastHeard time.Time  // any matching reply
	down      bool       // silent when last asked
	mute      bool       // silent to everybody for as long as a lookup took, and since
	back      time.Time  // when it was last heard after that
	nextProbe time.Time  // when a query is sent to it although it is down
	backoff   time.Duration
	rtt       time.Duration // smoothed: RFC 6298, section 2
	sent      uint64
	answered  uint64
	pool      socketPool
	streams   []*stream
	cookies   cookieJar
}

// newServer reads one of the forms of Options.Servers.
func (r *Resolver) newServer(name string, timeout time.Duration) (*server, error) {
	n, err := parseServer(name)
	if err != nil {
		return nil, err
	}
	s := &server{protocol: n.protocol, addr: n.addrs[0].String(), name: n.addrs[0].String(), cookies: cookieJar{client: newCookie()}}
	if s.protocol < overTLS {
		return s, nil
	}
	s.name = name
	s.tls = &tls.Config{}
	if r.opt.TLSConfig != nil {
		s.tls = r.opt.TLSConfig.Clone()
	}
	if s.tls.ClientSessionCache == nil {
		s.tls.ClientSessionCache = tls.NewLRUClientSessionCache(maxStreams)
	}
	s.tls.MinVersion = max(s.tls.MinVersion, tls.VersionTLS12)
	s.tls.ServerName = n.tlsName
	if s.protocol == overHTTPS {
		s.https = r.newHTTPSExchange(n, s.tls, timeout)
	}
	return s, nil
}

// withoutEDNS is how long it is remembered of a server that only a query
// without EDNS would do: it may have been mended, or replaced.
const withoutEDNS = time.Hour

const (
	firstProbe = time.Second
	lastProbe  = time.Minute
)

// heard records a matching reply. s.mu is held.
func (s *server) heard(now time.Time, rtt time.Duration) {
	if s.mute {
		s.mute, s.back = false, now
	}
	s.lastHeard, s.down, s.backoff = now, false, 0
	s.answered++
	if s.rtt == 0 {
		s.rtt = rtt
	}
	s.rtt += (rtt - s.rtt) / 8
}

// unanswered records that q has no reply within the time for one; judge says
// whether the server's health suffers.
func (s *server) unanswered(q *query, now time.Time, judge bool) {
	s.mu.Lock()
	s.narrow(q)
	s.settled(q)
	s.mu.Unlock()
	if judge {
		s.silent(now, q.sent)
	}
}

// silent records that a query sent at the given time has no reply yet. The
// server is down when it has not replied to anything since.
func (s *server) silent(now, sent time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.lastHeard.Before(sent) {
		return
	}
	if !s.down {
		s.down, s.backoff = true, firstProbe
		s.nextProbe = now.Add(s.backoff)
	}
}

// muteSince records that a lookup begun at start has failed. The server is
// mute if it has not replied to anything since.
func (s *server) muteSince(start time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mute = s.mute || s.lastHeard.Before(start)
}

// cameBack is when the server was first heard after it was mute; zero: it
// never was.
func (s *server) cameBack() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.back
}

// isDown reports whether the server should be asked last.
func (s *server) isDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// takeProbe reports whether it is time to ask the server although it is
// down, and puts off the next such time.
func (s *server) takeProbe(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.down || now.Before(s.nextProbe) {
		return false
	}
	s.backoff = min(2*s.backoff, lastProbe)
	s.nextProbe = now.Add(s.backoff)
	return true
}

// ServerStats is the state of one nameserver.
type ServerStats struct {
	Server   string        // ip:port
	Down     bool          // silent; asked last, and probed
	RTT      time.Duration // smoothed time to an answer, including the server's own work
	Sent     uint64        // queries sent
	Answered uint64        // replies accepted
}

func (s *server) stats() ServerStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return ServerStats{Server: s.name, Down: s.down, RTT: s.rtt, Sent: s.sent, Answered: s.answered}
}
