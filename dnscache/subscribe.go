package dnscache

import (
	"net/netip"
	"time"

	"github.com/hostwise-go/hostwise"
)

// A Subscription hands the answers of one lookup on as they come.
type Subscription struct {
	r      *Resolver
	host   string
	name   string
	ask    [2]bool
	answer func(network string, addrs []netip.Addr, err error)
}

// Subscribe asks for host's addresses and returns at once. network is "ip",
// "ip4" or "ip6". It calls answer once for each family, "ip6" and "ip4", with
// that family's addresses or its error: before it returns for what is known,
// and later, from another goroutine, for the rest. answer must not block.
func (r *Resolver) Subscribe(network, host string, answer func(network string, addrs []netip.Addr, err error)) *Subscription {
	s := &Subscription{r: r, host: host, answer: answer}
	asked, _ := familiesOf(network)
	want, err := r.families(network, host)
	var records [2]*record
	if err == nil {
		records, s.name, s.ask, err = r.known(want, host)
	}
	now := time.Now()
	for i := range asked {
		f := family(i)
		switch {
		case !asked[f]:
		case err != nil:
			answer(f.network(), nil, err)
		case !want[f] || records[f] == nil && !s.ask[f]: // switched off, or a literal of the other family
			answer(f.network(), nil, &hostwise.DNSError{Host: host, Kind: hostwise.DNSNoData})
		case !s.ask[f]:
			s.tell(f, records[f], false)
		default:
			if rec, joined := r.join(flightKey{s.name, f}, s, now); !joined {
				s.tell(f, rec, false)
			}
		}
	}
	return s
}

// answered implements waiter.
func (s *Subscription) answered(f family, rec *record) { s.tell(f, rec, true) }

func (s *Subscription) tell(f family, rec *record, fresh bool) {
	if rec.err != nil {
		s.answer(f.network(), nil, s.r.callerError(rec, fresh))
		return
	}
	s.answer(f.network(), append([]netip.Addr(nil), rec.addrs...), nil)
}

// Stop ends the interest in answers; one on its way may still arrive. Unlike
// that of a canceled lookup, a question that nobody waits for any more goes
// on for one second, so that a late answer still reaches the cache.
func (s *Subscription) Stop() {
	for f, ask := range s.ask {
		if ask {
			s.r.leave(flightKey{s.name, family(f)}, s, lateAnswersFor)
		}
	}
}

// Asked returns the nameservers whose answer is awaited.
func (s *Subscription) Asked() []string {
	return s.r.asking(s.name)
}
