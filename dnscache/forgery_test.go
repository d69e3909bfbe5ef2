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

// The tenth wrong packet comes at 14 ms, and TCP's answer two round trips
// later, at 34 ms. UDP's is still awaited meanwhile: whichever comes first
// counts, and the other changes nothing.
func TestForgery_TCPIsAskedBesideUDP(t *testing.T) {
	const tenth = rtt/2 + 9*time.Millisecond
	const overUDP, overTCP = "192.0.2.1", "192.0.2.2"
	for _, tt := range []struct {
		name      string
		forged    int
		udp       simnet.Rule
		refuseTCP bool
		want      string
		elapsed   time.Duration
		queries   int // that reach the server
	}{
		{"UDP answers while TCP connects", 10, simnet.Rule{Delay: 10 * time.Millisecond}, false, overUDP, rtt + 10*time.Millisecond, 2},
		{"UDP answers while TCP is asked", 10, simnet.Rule{Delay: 23 * time.Millisecond}, false, overUDP, rtt + 23*time.Millisecond, 2},
		{"TCP answers first", 10, simnet.Rule{Delay: 25 * time.Millisecond}, false, overTCP, tenth + 2*rtt, 2},
		{"UDP never answers", 10, simnet.Rule{Silent: true}, false, overTCP, tenth + 2*rtt, 2},
		{"TCP is asked once for many forgeries", 50, simnet.Rule{Silent: true}, false, overTCP, tenth + 2*rtt, 2},
		{"TCP is refused", 10, simnet.Rule{Delay: 100 * time.Millisecond}, true, overUDP, rtt + 100*time.Millisecond, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, 1, dnscache.Options{}, func(w *world) {
				if tt.refuseTCP {
					w.servers[0].RefuseTCP()
				}
				for i := range tt.forged {
					tt.udp.Forge = append(tt.udp.Forge, simnet.Forgery{Kind: simnet.WrongID, Delay: time.Duration(i) * time.Millisecond})
				}
				tt.udp.Addrs, tt.udp.TTL = parse(overUDP), 300
				w.all("a.test", dns.TypeA, tt.udp, simnet.Rule{Addrs: parse(overTCP), TTL: 300})
				w.gets("ip4", "a.test", tt.elapsed, tt.want)
				time.Sleep(time.Second) // the other answer comes
				w.gets("ip4", "a.test", 0, tt.want)
				w.asked("a.test", dns.TypeA, tt.queries)
				for i, q := range w.servers[0].Queries() {
					if q.TCP != (i > 0) {
						t.Errorf("query %d over TCP: %v, want UDP first and then TCP", i, q.TCP)
					}
				}
				if s := w.r.Stats(); s.TCP != 1 || s.Retransmits != 0 {
					t.Errorf("%d queries over TCP, %d repetitions, want 1 and 0", s.TCP, s.Retransmits)
				}
			})
		})
	}
}
