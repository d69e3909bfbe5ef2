package dnscache

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A server is one nameserver: its sockets and its health.
type server struct {
	addr    netip.AddrPort
	name    string // addr as text
	tcpOnly bool
	noEDNS  atomic.Bool // answered FORMERR to a query with OPT

	mu        sync.Mutex // protects what follows
	lastHeard time.Time  // any matching reply
	down      bool       // silent when last asked
	nextProbe time.Time  // when a query is sent to it although it is down
	backoff   time.Duration
	rtt       time.Duration // smoothed: RFC 6298, section 2
	sent      uint64
	answered  uint64
	pool      socketPool
}

const (
	firstProbe = time.Second
	lastProbe  = time.Minute
)

// heard records a matching reply.
func (s *server) heard(now time.Time, rtt time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lastHeard, s.down, s.backoff = now, false, 0
	s.answered++
	if s.rtt == 0 {
		s.rtt = rtt
	}
	s.rtt += (rtt - s.rtt) / 8
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
