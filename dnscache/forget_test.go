package dnscache_test

import (
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// ForgetFailures forgets what did not come of a nameserver's word on a name, and
// has what is on its way asked again at once.
func TestForgetFailures(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.host("a.test", 300, "192.0.2.1")
		w.host("b.test", 300, "192.0.2.2")
		w.all("none.test", dns.TypeA, simnet.Rule{Rcode: dns.RcodeNameError})
		w.all("bad.test", dns.TypeA, simnet.Rule{Rcode: dns.RcodeServerFailure})
		w.fails("ip4", "none.test", hostwise.DNSNXDomain, 10*time.Millisecond)
		w.gets("ip4", "b.test", 10*time.Millisecond, "192.0.2.2")
		w.fails("ip4", "bad.test", hostwise.DNSServFail, 20*time.Millisecond)
		if e := w.fails("ip4", "bad.test", hostwise.DNSServFail, 0); !e.Cached {
			t.Errorf("%v, want it remembered", e)
		}
		entries := w.r.Stats().Entries
		w.r.ForgetFailures()
		if got := w.r.Stats().Entries; got != entries-1 {
			t.Errorf("%d names are remembered, want %d", got, entries-1)
		}
		w.fails("ip4", "none.test", hostwise.DNSNXDomain, 0)
		w.gets("ip4", "b.test", 0, "192.0.2.2")
		w.fails("ip4", "bad.test", hostwise.DNSServFail, 20*time.Millisecond)

		// It is asked after 0, 0.4 and 1.2 s, and would be again after 2 s, over
		// TCP: so it is 0.4 s after the last time instead.
		w.servers[0].SetSilent(true)
		time.AfterFunc(1500*time.Millisecond, func() {
			w.servers[0].SetSilent(false)
			w.r.ForgetFailures()
		})
		w.gets("ip4", "a.test", 1620*time.Millisecond, "192.0.2.1")
	})
}
