package dnscache

import (
	"context"
	"net/netip"
	"sync"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/hook"
)

// A Subscription hands the answers of one lookup on as they come.
type Subscription struct {
	r      *Resolver
	host   string
	asked  familySet // by the caller
	want   familySet // of these, those that are not switched off
	answer func(network string, addrs []netip.Addr, err error)
	later  hook.Queue // calls answer, once Subscribe has returned
	async  bool       // all answers come that way

	mu      sync.Mutex // protects what follows
	name    string     // that flights ask for
	ask     [2]bool    // the flights
	stopped bool
	cancel  func() // ends search
}

// Subscribe asks for host's addresses and returns at once. network is "ip",
// "ip4" or "ip6"; any other is an error of both families. It calls answer once
// for each family, "ip6" and "ip4", with that family's addresses or its error:
// before it returns for what is known, and later, from a goroutine of its own, for
// the rest; there, one that panics is counted in Stats.HookPanics.
func (r *Resolver) Subscribe(network, host string, answer func(network string, addrs []netip.Addr, err error)) *Subscription {
	s := &Subscription{r: r, host: host, answer: answer, later: hook.Queue{Group: &r.calls}}
	var ok bool
	if s.asked, ok = familiesOf(network); !ok {
		s.asked = 1<<v6 | 1<<v4 // to be told that there is no such network
	}
	var err error
	if s.want, err = r.families(network, host); err != nil {
		s.fail(err)
		return s
	}
	names := r.candidates(host)
	if names == nil {
		s.start(host)
		return s
	}
	for len(names) > 1 && r.isAbsent(s.want, names[0]) {
		names = names[1:]
	}
	if len(names) == 1 {
		s.start(names[0])
		return s
	}
	ctx, cancel := context.WithCancel(r.ctx)
	s.cancel, s.async = cancel, true
	if !r.own(func() { s.search(ctx, names) }, nil) {
		s.fail(closedRecord(host).err)
	}
	return s
}

// isAbsent reports whether name is known to have no address.
func (r *Resolver) isAbsent(want familySet, name string) bool {
	records, _, ask, err := r.known(want, name)
	for f, rec := range records {
		if want.has(family(f)) && (ask[f] || rec == nil || rec.state != negative) {
			return false
		}
	}
	return err == nil
}

// search looks for the first name that has an address. The last one is asked
// for like any other.
func (s *Subscription) search(ctx context.Context, names []string) {
	defer s.cancel()
	last, coalesced := len(names)-1, false
	for _, name := range names[:last] {
		addrs, err := s.r.appendExact(ctx, nil, s.want, name, &coalesced)
		switch {
		case ctx.Err() != nil:
			s.fail(err)
			return
		case err == nil:
			s.deliver(addrs)
			return
		}
	}
	s.start(names[last])
}

// deliver hands on addresses of both families.
func (s *Subscription) deliver(addrs []netip.Addr) {
	var by [2][]netip.Addr
	for _, a := range addrs {
		f := familyOf(a)
		by[f] = append(by[f], a)
	}
	for f := range by {
		if s.asked.has(family(f)) {
			s.tell(family(f), staticRecords(s.host, by)[f], false)
		}
	}
}

// fail hands an error on for each family.
func (s *Subscription) fail(err error) {
	for _, f := range [...]family{v6, v4} {
		if s.asked.has(f) {
			s.say(f, nil, err, s.async)
		}
	}
}

// start asks for the name that host is.
func (s *Subscription) start(host string) {
	records, name, ask, err := s.r.known(s.want, host)
	s.mu.Lock()
	if s.stopped {
		err = closedRecord(host).err
	}
	s.name, s.ask = name, ask
	s.mu.Unlock()
	if err != nil {
		s.fail(err)
		return
	}
	now := time.Now()
	for _, f := range [...]family{v6, v4} {
		switch {
		case !s.asked.has(f):
		case !s.want.has(f) || records[f] == nil && !ask[f]: // switched off, or a literal of the other family
			s.say(f, nil, &hostwise.DNSError{Host: s.host, Kind: hostwise.DNSNoData}, s.async)
		case !ask[f]:
			s.tell(f, records[f], false)
		default:
			s.r.mu.Lock()
			rec, first := s.r.join(flightKey{name, f}, s, now)
			s.r.mu.Unlock()
			if rec != nil {
				s.tell(f, rec, false)
			}
			if first != nil {
				s.r.launch(first)
			}
		}
	}
}

// answered implements waiter.
func (s *Subscription) answered(f family, rec *record) { s.tell(f, rec, true) }

func (s *Subscription) tell(f family, rec *record, fresh bool) {
	if rec.err != nil {
		s.say(f, nil, s.r.callerError(rec, fresh), fresh || s.async)
		return
	}
	s.say(f, append([]netip.Addr(nil), rec.addrs...), nil, fresh || s.async)
}

// say calls the caller's function: later, if the goroutine is not the caller's.
func (s *Subscription) say(f family, addrs []netip.Addr, err error, later bool) {
	if later {
		s.later.Add(func() { s.answer(f.network(), addrs, err) })
		return
	}
	s.answer(f.network(), addrs, err)
}

// Stop ends the interest in answers; one on its way may still arrive. Unlike
// that of a canceled lookup, a question that nobody waits for any more goes
// on for one second, so that a late answer still reaches the cache.
func (s *Subscription) Stop() {
	s.mu.Lock()
	s.stopped = true
	name, ask := s.name, s.ask
	s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
	}
	for f, ask := range ask {
		if ask {
			s.r.leave(flightKey{name, family(f)}, s, lateAnswersFor)
		}
	}
}

// Asked returns the nameservers whose answer is awaited.
func (s *Subscription) Asked() []string {
	s.mu.Lock()
	name := s.name
	s.mu.Unlock()
	return s.r.asking(name)
}
