package transport

import (
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/hook"
)

const (
	outageHosts  = 32              // distinct hosts that fail, one after the other
	outageKnown  = outageHosts / 4 // of these, at least so many that were in order before
	outageWindow = 5 * time.Minute // within which they must have failed
	outageProof  = time.Minute     // a suspicion that no canary has confirmed for so long is dropped
	maxRun       = 4096            // hosts; a longer run begins anew
	calmTick     = 100 * time.Millisecond

	canaryTimeout = 2 * time.Second // to connect: the next one is not far
	firstRetry    = time.Second     // of a request that was refused
	lastRetry     = time.Minute
	retryShare    = 10 // of the time that the outage has lasted
)

// A canary is a dial that tells whether the network is back. A host that has
// been reached before, and has not failed since the last success, is a good one;
// one that has, or was a canary in this outage, may be dead by itself. Others may
// never have lived, and tell little, but they may be all that is left. No kind
// takes the turn of another.
type canary uint8

const (
	canaryGood canary = iota
	canaryTried
	canaryOther
	noCanary
)

// canaryEvery is the time between two canaries: about ten a second, all in all.
var canaryEvery = [...]time.Duration{canaryGood: time.Second / 5, canaryTried: time.Second / 4, canaryOther: time.Second / 2}

// An OutageChange says that the local network has come under the suspicion of
// being down, or no longer is: Options.OnOutage.
type OutageChange struct {
	Down   bool
	Since  time.Time // when the first request began that has failed
	Hosts  int       // hosts that have failed since, one after the other
	Undone int       // of these, the breakers put back to what they were before
}

// outage finds out whether the local network is down, in which case no host is
// to blame. A run is the failures since the last success: those that were
// begun after it count, once for each host.
type outage struct {
	start time.Time // of the clock of calm
	off   bool      // nothing is suspected

	// calm is when a request was begun that has succeeded, give or take
	// calmTick, or 0 while a success has more to do than to say so.
	calm atomic.Int64
	down atomic.Bool // changed under mu

	outages, canaries, refused atomic.Uint64

	mu    sync.Mutex // protects what follows; the breaker's and the history's locks are taken under it
	run   uint64     // the number that the breaker knows the run by
	last  time.Time  // success
	hosts map[string]standing
	count int                 // of these, those that count
	known int                 // of these, those that were in order before
	where map[string]struct{} // the addresses that these have failed at, or their names
	since time.Time           // when the first one that counts was begun
	heard bool                // anybody has ever answered, in whatever way
	proof time.Time           // when the suspicion was last confirmed
	ended time.Time           // of the last outage
	next  [noCanary]time.Time
	over  chan struct{} // closed at the end of the outage

	// A token each, for the one of those who wait that is to be the next
	// canary.
	turn [noCanary]chan struct{}

	changes changes[OutageChange]
}

// standing is that of a host in a run.
type standing struct {
	known  bool // reached before, and without a failure before the run
	counts bool
}

func newOutage(told func(OutageChange), off bool, calls *hook.Group) *outage {
	o := &outage{start: time.Now().Add(-1), off: off, run: 1, hosts: map[string]standing{}, where: map[string]struct{}{}, changes: changes[OutageChange]{hook: told, calls: calls}}
	for i := range o.turn {
		o.turn[i] = make(chan struct{}, 1)
		o.turn[i] <- struct{}{}
	}
	return o
}

// success notes that a request or a dial, begun at a time, was answered.
func (t *Transport) success(began time.Time) {
	o := t.outage
	at := int64(began.Sub(o.start))
	if calm := o.calm.Load(); calm != 0 {
		if at-calm >= int64(calmTick) {
			o.calm.CompareAndSwap(calm, at)
		}
		return
	}
	if o.off {
		return
	}
	o.mu.Lock()
	down := o.down.Load()
	if !down {
		o.forget(time.Now())
	}
	ends := down && began.After(o.since) // else it may have been under way before
	o.mu.Unlock()
	if ends {
		t.endOutage()
	}
}

// forget ends the run: there was a success. o.mu is held.
func (o *outage) forget(now time.Time) {
	o.clear()
	o.last, o.heard = now, true
	o.calm.Store(int64(now.Sub(o.start)))
}

// endOutage ends the suspicion.
func (t *Transport) endOutage() {
	if r, ok := t.resolver.(interface{ ForgetFailures() }); ok {
		_ = t.calls.Call(r.ForgetFailures) // first, so that nobody meets them
	}
	if t.routes.none() { // and it works all the same
		t.routes.had.Store(false)
	}
	o := t.outage
	o.mu.Lock()
	if o.down.Load() {
		now := time.Now()
		o.changes.add(OutageChange{Since: o.since, Hosts: o.count})
		o.down.Store(false)
		o.ended = now
		o.forget(now)
		close(o.over)
	}
	o.mu.Unlock()
	o.changes.tell()
}

// failure takes in a failure of a request to key, begun at a time, and charges
// the host if it is the host's: not while the network is suspected, nor if it
// was begun then. With a zero time it has nothing to do with the network.
func (t *Transport) failure(key string, err error, p *permit, began time.Time, took time.Duration, charged bool) {
	silence := isLocalSilence(err)
	switch {
	case charged && began.IsZero():
		if t.breaker.failure(key, time.Now(), err, took, t.history.Reached(key), p, 0) {
			t.contacts.changed(key)
		}
		return
	case !charged && (began.IsZero() || !silence):
		t.breaker.release(p)
		return
	}
	noRoute := silence && t.routes.none()
	account, shard := t.breaker.of(key) // which may call the user, under no lock
	now, tripped := time.Now(), false
	reached := t.history.Reached(key)
	o := t.outage
	o.mu.Lock()
	switch {
	case o.down.Load() || began.Before(o.ended):
		charged = false
		if o.down.Load() {
			o.tried(key)
		}
	default:
		if !isRefused(err) { // which takes a network, unlike all other failures
			o.add(key, err, began, now, reached && t.breaker.failures(account, shard) == 0)
		}
		o.heard = o.heard || charged && !isSilence(err)
		if charged {
			tripped = t.breaker.charge(account, shard, now, err, took, reached, p, o.run)
		}
		if !o.off && (noRoute && (t.routes.had.Load() || !o.heard) || o.suspects(t)) {
			o.declare(t, now)
		}
	}
	o.mu.Unlock()
	if !charged {
		t.breaker.release(p)
	}
	if tripped {
		t.contacts.changed(key)
	}
	o.changes.tell()
	t.breaker.changes.tell() // what was undone
}

// add adds a failure to the run. o.mu is held.
func (o *outage) add(key string, err error, began, now time.Time, known bool) {
	if calm := o.calm.Swap(0); calm != 0 {
		o.last = o.start.Add(time.Duration(calm) + calmTick)
	}
	if o.count > 0 && now.Sub(o.since) > outageWindow || len(o.hosts) >= maxRun {
		o.clear()
	}
	host := hostOf(key)
	s, again := o.hosts[host]
	if !again {
		s.known = known
	}
	if !s.counts && began.After(o.last) {
		s.counts = true
		if o.count++; o.count == 1 || began.Before(o.since) {
			o.since = began
		}
		if s.known {
			o.known++
		}
		place := host
		if e, ok := errors.AsType[*hostwise.ConnectError](err); ok && len(e.Attempts) > 0 {
			place = e.Attempts[0].Addr.Addr().String()
		}
		o.where[place] = struct{}{}
	}
	o.hosts[host] = s
}

// hostOf is the host of a host:port.
func hostOf(key string) string { return key[:max(0, strings.LastIndexByte(key, ':'))] }

// clear begins another run. o.mu is held.
func (o *outage) clear() {
	clear(o.hosts)
	clear(o.where)
	o.count, o.known = 0, 0
	o.run++
}

// suspects reports whether the run is long enough, and not made of hosts alone
// that may well be dead: some of them, or half of all that were ever reached,
// have been in order before. When nobody has ever been heard, they must have
// failed in several places: many dead names lead to one address. o.mu is held.
func (o *outage) suspects(t *Transport) bool {
	if o.count < outageHosts {
		return false
	}
	reached := t.history.Hosts()
	if reached == 0 {
		return !o.heard && len(o.where) >= outageKnown
	}
	return o.known >= min(outageKnown, (reached+1)/2)
}

// declare begins an outage. o.mu is held.
func (o *outage) declare(t *Transport, now time.Time) {
	undone := t.breaker.undo(o.run)
	o.run++
	if o.count == 0 { // it is the routing table that says so
		o.since = now
	}
	t.addresses.forgetSince(o.since)
	o.proof, o.next, o.over = now, [noCanary]time.Time{}, make(chan struct{})
	o.outages.Add(1)
	o.down.Store(true)
	o.changes.add(OutageChange{Down: true, Since: o.since, Hosts: o.count, Undone: undone})
}

// tried notes that key is a good canary no more. o.mu is held.
func (o *outage) tried(key string) {
	host := hostOf(key)
	if _, ok := o.hosts[host]; !ok && len(o.hosts) < maxRun {
		o.hosts[host] = standing{}
	}
}

// confirm notes that a dial has failed as was to be expected.
func (o *outage) confirm() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.proof = time.Now()
}

// kind is what a dial to key is good for as a canary.
func (o *outage) kind(key string, reached bool) canary {
	o.mu.Lock()
	defer o.mu.Unlock()
	_, tried := o.hosts[hostOf(key)]
	switch {
	case !reached:
		return canaryOther
	case tried:
		return canaryTried
	}
	return canaryGood
}

// take asks to be a canary of a kind. If it is not to be, wait says when to
// ask again; lapsed says that the suspicion is to be dropped.
func (o *outage) take(kind canary, key string) (wait time.Duration, lapsed bool) {
	now := time.Now()
	o.mu.Lock()
	defer o.mu.Unlock()
	if wait = o.next[kind].Sub(now); wait > 0 {
		return wait, false
	}
	o.next[kind] = now.Add(canaryEvery[kind])
	o.tried(key)
	return 0, now.Sub(o.proof) > outageProof
}

// suspicion returns since when the network is suspected, and what is closed at
// the end of that; nil: it is not suspected.
func (o *outage) suspicion() (since time.Time, over <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.down.Load() {
		return time.Time{}, nil
	}
	return o.since, o.over
}

// excuses reports whether what was begun at a time, and has failed, is the
// fault of an outage.
func (o *outage) excuses(began time.Time) bool {
	if o.outages.Load() == 0 {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.down.Load() || began.Before(o.ended)
}

// isRefusal reports whether err says that the outage itself was the reason not
// to try.
func isRefusal(err error) bool {
	c, ok := err.(*hostwise.ConnectError)
	return ok && !c.Since.IsZero()
}

// isLocalSilence reports whether err is a failure that charges no host, and yet
// is what an outage looks like.
func isLocalSilence(err error) bool {
	if isRefusal(err) {
		return false
	}
	if e, ok := errors.AsType[*hostwise.DNSError](err); ok {
		silent := e.Kind == hostwise.DNSTimeout || e.Kind == hostwise.DNSServerUnreachable || e.Kind == hostwise.LocalOutage
		return silent && !e.Cached
	}
	return hostwise.KindOf(err) == hostwise.LocalOutage
}

// isRefused reports whether the host's system has refused the connection.
func isRefused(err error) bool {
	k := hostwise.KindOf(err)
	return k == hostwise.ConnectRefused || k == hostwise.ConnectReset
}

// isSilence reports whether err is what a dial may fail with in an outage, and
// not the host's own word. SERVFAIL is what a forwarder on this machine or at
// home says then.
func isSilence(err error) bool {
	switch hostwise.KindOf(err) {
	case hostwise.ConnectTimeout, hostwise.ConnectUnreachable, hostwise.TLSTimeout, hostwise.LocalOutage,
		hostwise.DNSTimeout, hostwise.DNSServerUnreachable, hostwise.DNSServFail,
		hostwise.ProxyConnect, hostwise.ProxyTimeout, hostwise.ProxyDNS:
		return true
	}
	return false
}
