package dnscache_test

import (
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// Each forgery arrives 20 ms before the true answer: RFC 5452, section 9.
func TestForgery_OneOfEachIsSurvived(t *testing.T) {
	for name, kind := range map[string]simnet.ForgeryKind{
		"three garbage bytes":      simnet.Garbage,
		"empty datagram":           simnet.EmptyDatagram,
		"truncated body":           simnet.TruncatedBody,
		"wrong id":                 simnet.WrongID,
		"wrong question":           simnet.WrongQuestion,
		"QR = 0":                   simnet.NotResponse,
		"wrong owner":              simnet.WrongOwner,
		"answer from another peer": simnet.OtherPeer,
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{}, func(w *world) {
				w.all("a.test", dns.TypeA, simnet.Rule{
					Addrs: parse("192.0.2.1"), TTL: 300, Delay: 20 * time.Millisecond,
					Forge: []simnet.Forgery{{Kind: kind}},
				})
				w.gets("ip4", "a.test", rtt+20*time.Millisecond, "192.0.2.1")
				dropped := w.r.Stats().Dropped + uint64(w.net.Stats().Filtered)
				if dropped != 1 {
					t.Errorf("%d packets dropped, want 1", dropped)
				}
				w.asked("a.test", dns.TypeA, 1)
			})
		})
	}
}

func TestForgery_TenMoveTheQueryToTCP(t *testing.T) {
	for _, n := range []int{9, 10} {
		inWorld(t, 1, dnscache.Options{}, func(w *world) {
			forge := make([]simnet.Forgery, n)
			for i := range forge {
				forge[i] = simnet.Forgery{Kind: simnet.WrongID, Delay: time.Duration(i) * time.Millisecond}
			}
			w.all("a.test", dns.TypeA, simnet.Rule{Silent: true, Forge: forge}, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300})
			overTCP, elapsed := uint64(0), 400*time.Millisecond+rtt
			if n == 10 {
				overTCP, elapsed = 1, rtt/2+9*time.Millisecond+2*rtt // the tenth forgery, TCP's connect and answer
			}
			w.gets("ip4", "a.test", elapsed, "192.0.2.1")
			if got := w.r.Stats().TCP; got != overTCP {
				t.Errorf("after %d forgeries: %d queries over TCP, want %d", n, got, overTCP)
			}
		})
	}
}
