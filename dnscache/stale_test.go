package dnscache_test

import (
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// The single rules of RFC 8767 are in rfc_test.go.

// In an hour without nameservers no lookup of a known name fails, or takes
// longer than the client's patience; whatever families the name has.
func TestStale_OutageOfAnHour(t *testing.T) {
	for name, addrs := range map[string][]string{
		"both families": {"2001:db8::1", "192.0.2.1"},
		"IPv4 only":     {"192.0.2.1"},
		"IPv6 only":     {"2001:db8::1"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, 2, dnscache.Options{}, func(w *world) {
				w.host("a.test", 60, addrs...)
				w.gets("ip", "a.test", rtt, addrs...)
				time.Sleep(5 * time.Minute)
				for _, s := range w.servers {
					s.SetSilent(true)
				}
				for range 120 {
					w.gets("ip", "a.test", 1800*time.Millisecond, addrs...)
					for range 29 {
						w.gets("ip", "a.test", 0, addrs...)
						time.Sleep(time.Second)
					}
					time.Sleep(time.Second)
				}
				if got := w.r.Stats().StaleHits; got < 120*29 {
					t.Errorf("StaleHits = %d, want at least %d", got, 120*29)
				}
				for _, s := range w.servers {
					s.SetSilent(false)
				}
				w.host("a.test", 60, "192.0.2.2")
				w.gets("ip", "a.test", rtt, "192.0.2.2")
			})
		})
	}
}

// A question that was asked ahead of the expiry, and has no answer when the
// time comes, has used up its callers' patience in part.
func TestStale_WhoJoinsARefresh(t *testing.T) {
	for _, tt := range []struct {
		joined, elapsed time.Duration // since the refresh began
	}{
		{time.Second, 800 * time.Millisecond},
		{1800 * time.Millisecond, 0},
		{3 * time.Second, 0},
	} {
		inWorld(t, 1, dnscache.Options{}, func(w *world) {
			w.all("a.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 100}, simnet.Rule{Silent: true})
			w.gets("ip4", "a.test", rtt, "192.0.2.1")
			time.Sleep(100*time.Second - tt.joined)
			w.gets("ip4", "a.test", 0, "192.0.2.1")
			time.Sleep(tt.joined)
			w.gets("ip4", "a.test", tt.elapsed, "192.0.2.1")
			w.gets("ip4", "a.test", 0, "192.0.2.1")
		})
	}
}
