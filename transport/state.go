package transport

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/happyeyeballs"
	"github.com/hostwise-go/hostwise/internal/hook"
)

// dialState is what a dial has learned so far. The dial writes it; a request
// that gives up reads it.
type dialState struct {
	host   string // host:port of the request
	proxy  string // host:port of the proxy being dialled, or ""
	name   string // being resolved
	start  time.Time
	waited time.Duration // the request, before that

	mu        sync.Mutex // protects what follows
	resolving bool
	outage    time.Time // since when there is one, that it waits for the end of or is a canary in; zero: none
	queued    bool      // waits for room for one more connection
	asked     asker     // of the nameservers; may be nil
	attempts  []attemptState
	sockets   int             // of these, open: not that of the dial's connection
	spares    int             // taken of connLimit for them
	over      bool            // without a connection: its room is given back with the last socket
	room      [1]attemptState // for the attempts of most dials
	ready     time.Time       // when there was an address to try; zero: not yet
	standing  time.Time       // when the first handshake began; zero: not yet
	ended     time.Time       // when it was done
	done      bool
	err       error
}

type attemptState struct {
	hostwise.Attempt
	running bool
	ran     time.Time // began to run, which a busy machine may have delayed; zero: not yet
	delay   time.Duration
	from    happyeyeballs.Source
	hedge   bool
}

// An asker knows the nameservers whose answer is awaited.
type asker interface{ Asked() []string }

func (s *dialState) resolve(asked asker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resolving, s.asked = true, asked
}

// wait notes that resolving has come far enough to connect.
func (s *dialState) wait() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resolving = false
	if s.ready.IsZero() {
		s.ready = time.Now()
	}
}

// queue notes that the dial waits for room for one more connection.
func (s *dialState) queue() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.queued = true
}

// hold notes that the dial is held, or let through as a canary, since there is
// an outage; the zero time, that there is none.
func (s *dialState) hold(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = since
}

// all reports whether there were attempts, all of them to addresses of a kind.
func (s *dialState) all(is func(netip.Addr) bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.attempts) > 0 && !slices.ContainsFunc(s.attempts, func(a attemptState) bool { return !is(a.Addr.Addr()) })
}

// started notes a new attempt and returns its index.
func (s *dialState) started(a attemptState, now time.Time) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.Start, a.Phase, a.running = now.Sub(s.start), hostwise.PhaseConnect, true
	s.attempts = append(s.attempts, a)
	return len(s.attempts) - 1
}

// runs notes that an attempt runs.
func (s *dialState) runs(i int, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.attempts[i].ran = now
}

// lastRan is when the last attempt began to run; zero: there is none, or it is
// yet to do so.
func (s *dialState) lastRan() (at time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.attempts); n > 0 {
		at = s.attempts[n-1].ran
	}
	return at
}

// attempt is the address of an attempt, and whether it was begun beside others;
// zeros for -1.
func (s *dialState) attempt(i int) (a netip.Addr, hedge bool) {
	if i < 0 {
		return a, false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attempts[i].Addr.Addr(), s.attempts[i].hedge
}

// spared notes that a spare was taken for another attempt.
func (s *dialState) spared() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spares++
}

// opens notes that an attempt is to have a socket.
func (s *dialState) opens() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sockets++
}

// closes notes that an attempt has closed its socket, and says what is to be
// given back: a spare, for one of those that are left has the room of the
// dial's connection, or that room, when it was the last.
func (s *dialState) closes() (spare, room bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sockets--
	if s.spares > 0 {
		s.spares--
		return true, false
	}
	return false, s.over && s.sockets == 0
}

// surplus gives up the spares that no attempt will give back.
func (s *dialState) surplus() (spares int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.surplusLocked()
}

func (s *dialState) surplusLocked() (spares int) {
	spares = max(0, s.spares-max(0, s.sockets-1))
	s.spares -= spares
	return spares
}

// end notes that there will be no connection, and says what is to be given
// back at once: spares, and the connection's room unless an attempt still has
// its socket.
func (s *dialState) end() (spares int, room bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	return s.surplusLocked(), s.sockets == 0
}

// connected notes that an attempt has connected, and returns how long it
// took. shakes says that a handshake follows.
func (s *dialState) connected(i int, shakes bool, now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if shakes {
		s.attempts[i].Phase = hostwise.PhaseTLS
	}
	if shakes && s.standing.IsZero() {
		s.standing = now
	}
	return now.Sub(s.start) - s.attempts[i].Start
}

// failed notes the end of an attempt and returns the phase it ended in.
func (s *dialState) failed(i int, err error, now time.Time) hostwise.Phase {
	s.mu.Lock()
	defer s.mu.Unlock()
	a := &s.attempts[i]
	a.running, a.Err, a.Elapsed = false, err, now.Sub(s.start)-a.Start
	return a.Phase
}

// shaking reports whether a TLS handshake is on its way.
func (s *dialState) shaking() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.attempts, attemptState.shaking)
}

func (a attemptState) shaking() bool { return a.running && a.Phase == hostwise.PhaseTLS }

// finish notes the end of the dial.
func (s *dialState) finish(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.done, s.err, s.ended = true, err, time.Now()
}

// elapsed is how long the phases took, and when the last of them ended.
func (s *dialState) elapsed() (e hostwise.Elapsed, end time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end = s.ended; !s.done {
		end = time.Now()
	}
	e.Wait = s.waited
	if s.ready.IsZero() {
		e.Resolve = end.Sub(s.start)
		return e, end
	}
	e.Resolve = s.ready.Sub(s.start)
	if len(s.attempts) == 0 {
		e.Wait += end.Sub(s.ready)
		return e, end
	}
	began := s.start.Add(s.attempts[0].Start)
	e.Wait += began.Sub(s.ready)
	if s.standing.IsZero() {
		e.Connect = end.Sub(began)
		return e, end
	}
	e.Connect, e.TLS = s.standing.Sub(began), end.Sub(s.standing)
	return e, end
}

// status says whether the dial goes on and, if not, what it failed with.
func (s *dialState) status() (dialing bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.done, s.err
}

// soFar returns the attempts; one that is running gets the error that it is
// about to be given up with.
func (s *dialState) soFar(giveUp error) []hostwise.Attempt {
	now := time.Now()
	list := make([]hostwise.Attempt, len(s.attempts))
	for i, a := range s.attempts {
		if a.running {
			a.Elapsed = now.Sub(s.start) - a.Start
			a.Err = &net.OpError{Op: "dial", Net: tcp(a.Addr.Addr()), Addr: net.TCPAddrFromAddrPort(a.Addr), Err: giveUp}
		}
		list[i] = a.Attempt
	}
	return list
}

// interrupted is the error of a dial that err, the end of its context, cuts
// short.
func (s *dialState) interrupted(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.attempts) == 0 && s.resolving && s.proxy == "" && s.outage.IsZero() {
		e := &hostwise.DNSError{Host: s.name, Kind: contextKind(err, hostwise.DNSTimeout), Err: err}
		if s.asked != nil {
			e.Asked = s.asked.Asked()
		}
		return e
	}
	giveUp := err
	if errors.Is(err, context.DeadlineExceeded) {
		giveUp = errTimeout{}
	}
	list := s.soFar(giveUp)
	if !s.outage.IsZero() {
		return &hostwise.ConnectError{Host: s.host, Proxy: s.proxy, Kind: contextKind(err, hostwise.LocalOutage), Attempts: list, Since: s.outage, Err: err}
	}
	if i := slices.IndexFunc(s.attempts, attemptState.shaking); i >= 0 && s.proxy == "" {
		return &hostwise.TLSError{Host: s.host, Addr: list[i].Addr, Kind: contextKind(err, hostwise.TLSTimeout), Attempts: several(list), Err: err}
	}
	timeout := hostwise.ConnectTimeout
	if s.queued && len(list) == 0 {
		timeout = hostwise.Deadline // the wait was for a connection of our own
	}
	if s.proxy != "" {
		timeout = hostwise.ProxyTimeout
	}
	return &hostwise.ConnectError{Host: s.host, Proxy: s.proxy, Kind: contextKind(err, timeout), Attempts: list, Err: err}
}

// failure is the error of a dial whose attempts have all failed, or whose
// last one makes the others pointless; nil if there were none. The phase is
// the furthest that one of them reached.
func (s *dialState) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.attempts) == 0 {
		return nil
	}
	list := s.soFar(errTimeout{}) // unless the race was called off, their time is up
	var shaken *hostwise.Attempt
	for i, a := range list {
		if a.Phase == hostwise.PhaseTLS && (shaken == nil || isCertificate(a.Err)) {
			shaken = &list[i]
		}
	}
	if s.proxy != "" {
		kind := connectKinds(list)
		if kind != hostwise.Other || !slices.ContainsFunc(list, func(a hostwise.Attempt) bool { return hook.IsFault(a.Err) }) {
			kind = proxyKind(kind)
		}
		return &hostwise.ConnectError{Host: s.host, Proxy: s.proxy, Kind: kind, Attempts: list}
	}
	if shaken != nil {
		return &hostwise.TLSError{Host: s.host, Addr: shaken.Addr, Kind: handshakeKind(shaken.Err), Attempts: several(list), Err: shaken.Err}
	}
	return &hostwise.ConnectError{Host: s.host, Kind: connectKinds(list), Attempts: list}
}

// several leaves out a list that says no more than the error itself.
func several(list []hostwise.Attempt) []hostwise.Attempt {
	if len(list) < 2 {
		return nil
	}
	return list
}

// connectKinds is the Kind that a list of failed attempts adds up to: a
// shortage of our own makes the rest worthless, and then the one that says
// most about the host decides.
func connectKinds(list []hostwise.Attempt) hostwise.Kind {
	has := map[hostwise.Kind]bool{}
	for _, a := range list {
		has[connectKind(a.Err)] = true
	}
	for _, k := range []hostwise.Kind{
		hostwise.LocalFDs, hostwise.LocalPorts,
		hostwise.ConnectRefused, hostwise.ConnectReset, hostwise.ConnectTimeout, hostwise.ConnectUnreachable,
		hostwise.LocalDenied, hostwise.LocalOutage, hostwise.PolicyDenied,
	} {
		if has[k] {
			return k
		}
	}
	return hostwise.Other
}

// proxyKind is what a failed connect means when it was to the proxy.
func proxyKind(k hostwise.Kind) hostwise.Kind {
	switch k {
	case hostwise.ConnectTimeout:
		return hostwise.ProxyTimeout
	case hostwise.LocalFDs, hostwise.LocalPorts, hostwise.LocalDenied, hostwise.LocalOutage:
		return k
	}
	return hostwise.ProxyConnect
}

// errCalledOff is the error of attempts that another one's success has ended.
var errCalledOff = errors.New("called off: another attempt has won")

// errTimeout is the error of package net for a dial whose time is up.
type errTimeout struct{}

func (errTimeout) Error() string   { return "i/o timeout" }
func (errTimeout) Timeout() bool   { return true }
func (errTimeout) Temporary() bool { return true }
func (errTimeout) Is(err error) bool {
	return err == context.DeadlineExceeded
}
