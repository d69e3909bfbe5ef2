package dnscache

import "time"

const (
	// A burst of queries must not be lost in the server's socket. With Linux's
	// usual 208 KiB that holds 256 small packets, and the room of those that
	// were read comes back by the quarter: 192 are safe. So minWindow are sent
	// without a reply in the last retransmitAfter, and one more for windowStep
	// replies while others wait, up to what makes windowRate answers a second;
	// one less for each reply that does not come. A server is slow because it
	// asks others, or because it does not read: its RTT alone does not tell.
	minWindow  = 176
	maxWindow  = maxSockets * maxInFlight
	windowRate = 8000
	windowStep = 8
)

// window is how many queries may be on their way over UDP. s.mu is held.
func (s *server) window() int {
	return min(minWindow+s.pool.grown/windowStep, s.mostWindow())
}

// mostWindow is how far the window may grow. s.mu is held.
func (s *server) mostWindow() int {
	return min(max(int(s.rtt*windowRate/time.Second), minWindow), maxWindow)
}

// settled records that q is no longer in the server's socket: it has been
// answered, or read, or lost. With the last one the window is the least
// again: nothing is known of the next burst. s.mu is held.
func (s *server) settled(q *query) {
	if !q.recent {
		return
	}
	q.recent = false
	s.pool.recent--
	if s.pool.recent == 0 {
		s.pool.grown = 0
	}
}

// widen has the window grow for the reply to q, if that is of use. s.mu is
// held.
func (s *server) widen(q *query) {
	if q.recent && len(s.pool.waiting) > 0 && s.window() < s.mostWindow() {
		s.pool.grown++
	}
}

// narrow has it shrink, as there is none. s.mu is held.
func (s *server) narrow(q *query) {
	if q.recent {
		s.pool.grown = max(s.pool.grown-windowStep, 0)
	}
}
