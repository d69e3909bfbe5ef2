package simnet

import (
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// window is the number of bytes in flight, written and not yet read, at which
// a write blocks.
const window = 64 << 10

// The retransmission of lost data, after Linux: TCP_RTO_MIN, TCP_RTO_MAX and
// the default of the sysctl tcp_retries2.
const (
	minRTO     = 200 * time.Millisecond
	maxRTO     = 120 * time.Second
	maxRetries = 15
)

// A stream is one direction of a TCP connection: the bytes from one end, the
// writer, to the other, the reader.
type stream struct {
	n    *Network
	host netip.Addr // whose link the stream runs over

	mu      sync.Mutex // protects all below; Network.mu may be taken under it, no other
	changed signal
	segs    []segment // in the order of the stream, not yet read
	size    int       // bytes in segs

	// The reader's state.
	readClosed   bool
	readDeadline time.Time

	// The writer's state.
	writing       bool // some Write is under way: others wait, so that they do not mix
	writeClosed   bool // by Close
	shut          bool // by CloseWrite
	ended         bool // the last segment is in segs: what else is written vanishes
	failure       error
	failAt        time.Time // from when on writes return failure
	writeDeadline time.Time
}

// A segment is a part of the stream, or its end.
type segment struct {
	data  []byte
	end   error     // io.EOF or ECONNRESET; nil for data
	at    time.Time // of its arrival or, if it is lost, of its next retransmission; zero is never
	lost  bool
	tries int // retransmissions so far
}

// read reads what has arrived, and waits for it if need be.
func (s *stream) read(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		now := time.Now()
		switch {
		case s.readClosed:
			return 0, net.ErrClosed
		case reached(s.readDeadline, now):
			return 0, os.ErrDeadlineExceeded
		case len(b) == 0:
			return 0, nil
		}
		next := s.nextLocked(now)
		if reached(next, now) {
			return s.takeLocked(b, now)
		}
		s.changed.wait(&s.mu, earlier(next, s.readDeadline))
	}
}

// nextLocked returns the time at which the first segment arrives or, if it is
// lost, is sent again. It does the retransmissions that are due.
func (s *stream) nextLocked(now time.Time) time.Time {
	if len(s.segs) == 0 {
		return time.Time{}
	}
	first := &s.segs[0]
	for first.lost && reached(first.at, now) {
		l := s.n.link(s.host)
		if !first.heldBy(l.Fault) {
			at := first.at.Add(l.RTT / 2)
			for i := range s.segs { // what follows is sent again along with it
				if seg := &s.segs[i]; seg.lost && !seg.heldBy(l.Fault) {
					seg.lost, seg.at = false, at
				}
			}
			break
		}
		if first.tries++; first.tries > maxRetries {
			first.at = time.Time{}
			break
		}
		first.at = first.at.Add(min(minRTO<<first.tries, maxRTO))
	}
	return first.at
}

// heldBy reports whether a link with the fault f loses the segment.
func (seg *segment) heldBy(f Fault) bool {
	return f.holdsAll() || f.holdsData() && seg.end == nil
}

// takeLocked moves what has arrived to b. The first segment has arrived.
func (s *stream) takeLocked(b []byte, now time.Time) (n int, err error) {
	if s.segs[0].end != nil {
		return 0, s.segs[0].end
	}
	for n < len(b) && len(s.segs) > 0 && s.segs[0].end == nil && !s.segs[0].lost && reached(s.segs[0].at, now) {
		first := &s.segs[0]
		m := copy(b[n:], first.data)
		n += m
		if first.data = first.data[m:]; len(first.data) == 0 {
			*first = segment{}
			s.segs = s.segs[1:]
		}
	}
	s.size -= n
	s.changed.broadcast() // the window has opened
	return n, nil
}

// write writes b, and waits for the window to open if need be. It reports in
// reset whether the link answers data with a reset.
func (s *stream) write(b []byte) (n int, reset bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for mine := false; ; {
		now := time.Now()
		switch {
		case s.writeClosed:
			err = net.ErrClosed
		case reached(s.writeDeadline, now):
			err = os.ErrDeadlineExceeded
		case reached(s.failAt, now):
			err = s.failure
		case s.shut:
			err = syscall.EPIPE
		case !mine && s.writing:
			s.changed.wait(&s.mu, earlier(s.failAt, s.writeDeadline))
			continue
		}
		if !mine && err == nil {
			mine, s.writing = true, true
		}
		if err == nil && n < len(b) && s.size < window {
			m := min(len(b)-n, window-s.size)
			reset = s.sendLocked(b[n:n+m], now)
			n += m
		}
		if err != nil || n == len(b) || reset {
			if mine {
				s.writing = false
				s.changed.broadcast()
			}
			if reset { // the local buffer takes all of it
				n = len(b)
			}
			return n, reset, err
		}
		if s.size >= window {
			s.changed.wait(&s.mu, earlier(s.failAt, s.writeDeadline))
		}
	}
}

// sendLocked sends data over the link as it is now.
func (s *stream) sendLocked(data []byte, now time.Time) (reset bool) {
	if s.ended || s.readClosed {
		return false // to a dead end: the failure is under way
	}
	l := s.n.link(s.host)
	if l.Fault == ResetData {
		return true
	}
	s.pushLocked(segment{data: append([]byte(nil), data...)}, l, now)
	return false
}

// pushLocked appends a segment that is sent over l now.
func (s *stream) pushLocked(seg segment, l Link, now time.Time) {
	seg.at = now.Add(l.RTT / 2)
	if seg.heldBy(l.Fault) {
		seg.lost, seg.at = true, now.Add(minRTO)
	}
	s.segs = append(s.segs, seg)
	s.size += len(seg.data)
	s.changed.broadcast()
}

// closeWrite ends the stream with io.EOF or ECONNRESET: from the writer's
// Close, or from its CloseWrite if half is true.
func (s *stream) closeWrite(end error, half bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if half {
		s.shut = true
	} else {
		s.writeClosed = true
	}
	if !s.ended && !s.readClosed {
		s.ended = true
		s.pushLocked(segment{end: end}, s.n.link(s.host), time.Now())
	} else if end != io.EOF && len(s.segs) > 0 { // a reset after a half-close
		s.segs[len(s.segs)-1].end = end
	}
	s.changed.broadcast()
}

// closeRead is the reader's Close, called once. It reports whether the connection is to be
// reset rather than finished: when asked to, or since data was left unread.
func (s *stream) closeRead(reset bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if reached(s.nextLocked(now), now) && s.segs[0].end == nil {
		reset = true // RFC 1122, section 4.2.2.13
	}
	s.readClosed = true
	s.segs, s.size = nil, 0
	if l := s.n.link(s.host); s.failure == nil && !l.Fault.holdsAll() {
		s.failure, s.failAt = syscall.EPIPE, now.Add(l.RTT/2)
		if reset {
			s.failure = syscall.ECONNRESET
		}
	}
	s.changed.broadcast()
	return reset
}

// reset ends the stream by a reset that reaches the reader and the writer at
// the given times.
func (s *stream) reset(reader, writer time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.readClosed {
		return
	}
	kept, size := s.segs[:0], 0
	for _, seg := range s.segs {
		if seg.end == nil && !seg.lost && !seg.at.After(reader) {
			kept, size = append(kept, seg), size+len(seg.data)
		}
	}
	s.segs, s.size = append(kept, segment{end: syscall.ECONNRESET, at: reader}), size
	s.ended = true
	s.failure, s.failAt = syscall.ECONNRESET, writer
	s.changed.broadcast()
}

// setReadDeadline sets the deadline of reads, now waiting ones included.
func (s *stream) setReadDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readDeadline = t
	s.changed.broadcast()
}

// setWriteDeadline sets the deadline of writes, now waiting ones included.
func (s *stream) setWriteDeadline(t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.writeDeadline = t
	s.changed.broadcast()
}
