package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
	"github.com/miekg/dns"
)

// Each option of the race, on a host with an address of each family.
func TestOptions_OfTheRace(t *testing.T) {
	hole := simnet.Link{Fault: simnet.BlackHole}
	for _, tt := range []struct {
		name   string
		o      transport.Options
		aaaa   simnet.Rule
		six    simnet.Link
		want   []time.Duration // of one dial after the other
		v6, v4 int             // attempts in all
	}{
		{"ResolutionDelay: 50 ms by default", transport.Options{}, simnet.Rule{Silent: true}, simnet.Link{}, []time.Duration{50 * ms}, 0, 1},
		{"ResolutionDelay", transport.Options{ResolutionDelay: 200 * ms}, simnet.Rule{Silent: true}, simnet.Link{}, []time.Duration{200 * ms}, 0, 1},
		{"ResolutionDelay negative: none", transport.Options{ResolutionDelay: -1}, simnet.Rule{Silent: true}, simnet.Link{}, []time.Duration{0}, 0, 1},
		{"ConnectionAttemptDelay: 250 ms by default", transport.Options{}, simnet.Rule{}, hole, []time.Duration{250 * ms, 0}, 1, 2},
		{"ConnectionAttemptDelay", transport.Options{ConnectionAttemptDelay: 400 * ms}, simnet.Rule{}, hole, []time.Duration{400 * ms, 0}, 1, 2},
		{"ConnectionAttemptDelay at its least", transport.Options{ConnectionAttemptDelay: 10 * ms}, simnet.Rule{}, hole, []time.Duration{10 * ms, 0}, 1, 2},
		{"ConnectionAttemptDelay goes before what is learned", transport.Options{ConnectionAttemptDelay: 30 * ms}, simnet.Rule{}, simnet.Link{RTT: 50 * ms}, []time.Duration{30 * ms, 0}, 1, 2},
		{"Prefer ip6", transport.Options{Prefer: "ip6"}, simnet.Rule{}, simnet.Link{RTT: 20 * ms}, []time.Duration{20 * ms}, 1, 0},
		{"Prefer ip4", transport.Options{Prefer: "ip4"}, simnet.Rule{}, simnet.Link{}, []time.Duration{0}, 0, 1},
		{"Prefer ip4 does not wait for AAAA", transport.Options{Prefer: "ip4"}, simnet.Rule{Silent: true}, simnet.Link{}, []time.Duration{0}, 0, 1},
		{"DisableMemory", transport.Options{DisableMemory: true}, simnet.Rule{}, hole, []time.Duration{250 * ms, 250 * ms, 250 * ms}, 3, 3},
		{"DisableIPv6", transport.Options{DisableIPv6: true}, simnet.Rule{}, hole, []time.Duration{0}, 0, 1},
		{"DisableIPv4", transport.Options{DisableIPv4: true}, simnet.Rule{}, simnet.Link{RTT: 700 * ms}, []time.Duration{700 * ms}, 1, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, tt.o, func(w *world) {
				if !tt.aaaa.Silent {
					tt.aaaa.Addrs = []netip.Addr{netip.MustParseAddr("2001:db8::1")}
				}
				w.dns.Handle("a.test", dns.TypeA, simnet.Rule{Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.1")}, TTL: 300})
				w.dns.Handle("a.test", dns.TypeAAAA, tt.aaaa)
				w.link("2001:db8::1", tt.six)
				w.serve(ok, "192.0.2.1:80", "[2001:db8::1]:80")
				for i, want := range tt.want {
					if got := w.dial("a.test:80"); got != want {
						t.Errorf("dial %d took %v, want %v", i+1, got, want)
					}
				}
				if v6, v4 := w.dials("2001:db8::1"), w.dials("192.0.2.1"); v6 != tt.v6 || v4 != tt.v4 {
					t.Errorf("%d attempts over IPv6 and %d over IPv4, want %d and %d", v6, v4, tt.v6, tt.v4)
				}
				for _, f := range []struct {
					off   bool
					qtype uint16
				}{{tt.o.DisableIPv6, dns.TypeAAAA}, {tt.o.DisableIPv4, dns.TypeA}} {
					if got := w.dns.Count("a.test", f.qtype) > 0; got == f.off {
						t.Errorf("%s was asked for: %v", dns.TypeToString[f.qtype], got)
					}
				}
			})
		})
	}
}

func TestOptions_ADisabledFamilyIsNoneOfTheHosts(t *testing.T) {
	inWorld(t, nil, transport.Options{DisableIPv6: true}, func(w *world) {
		w.host("six.test", "2001:db8::1")
		w.serve(ok, "[2001:db8::1]:80")
		for _, u := range []string{"http://six.test/", "http://[2001:db8::1]/"} {
			w.fails(u, hostwise.DNSNoData, hostwise.PhaseResolve)
		}
		if got := w.dials("2001:db8::1"); got != 0 {
			t.Errorf("%d attempts over IPv6, want none", got)
		}
	})
}

func TestOptions_OfTheRaceOutOfRange(t *testing.T) {
	for _, o := range []transport.Options{
		{ConnectionAttemptDelay: 10*ms - 1}, {ConnectionAttemptDelay: -1}, {Prefer: "IPv6"}, {DisableIPv4: true, DisableIPv6: true},
	} {
		if _, err := transport.New(nil, &o); err == nil {
			t.Errorf("New accepted %+v", o)
		}
	}
}

// reported is a world that keeps the reports of its dials.
func reported(t *testing.T, o transport.Options, f func(w *world, last func() transport.DialReport)) {
	var reports []transport.DialReport
	o.DialDone = func(r transport.DialReport) { reports = append(reports, r) }
	inWorld(t, nil, o, func(w *world) {
		f(w, func() transport.DialReport {
			if len(reports) == 0 {
				t.Fatal("no report")
			}
			return reports[len(reports)-1]
		})
	})
}

// attempts are the attempts of a report, in short.
func attempts(r transport.DialReport) (list []string) {
	for _, a := range r.Attempts {
		s := fmt.Sprintf("%v %v+%v, next after %v by %s", a.Addr.Addr(), a.Start, a.Elapsed, a.Delay, a.DelayFrom)
		if a.Hedge {
			s += ", hedge"
		}
		if a.Err != nil {
			s += ": " + a.Err.Error()
		}
		list = append(list, s)
	}
	return list
}

func wantAttempts(t *testing.T, r transport.DialReport, want ...string) {
	t.Helper()
	if got := attempts(r); !slices.Equal(got, want) {
		t.Errorf("attempts:\n%q, want\n%q", got, want)
	}
}

func TestDialDone_TellsTheRaceStepByStep(t *testing.T) {
	reported(t, transport.Options{}, func(w *world, last func() transport.DialReport) {
		v4, v6 := []netip.Addr{netip.MustParseAddr("192.0.2.1")}, []netip.Addr{netip.MustParseAddr("2001:db8::1")}
		w.dns.Handle("a.test", dns.TypeA, simnet.Rule{Addrs: v4, TTL: 300, Delay: 5 * ms})
		w.dns.Handle("a.test", dns.TypeAAAA, simnet.Rule{Addrs: v6, TTL: 300, Delay: 20 * ms})
		w.link("2001:db8::1", simnet.Link{Fault: simnet.BlackHole})
		w.link("192.0.2.1", simnet.Link{RTT: 60 * ms})
		w.serve(ok, "192.0.2.1:80")

		w.dial("a.test:80")
		r := last()
		if r.Host != "a.test:80" || r.Proxy != "" || !r.Start.Equal(w.start) || r.Elapsed != 330*ms || r.Prefer != "ip6" || r.Canary || r.Winner != 1 || r.Err != nil {
			t.Errorf("report = %+v", r)
		}
		if want := []transport.Resolution{{Network: "ip4", At: 5 * ms, Addrs: v4}, {Network: "ip6", At: 20 * ms, Addrs: v6}}; fmt.Sprint(r.Resolutions) != fmt.Sprint(want) {
			t.Errorf("resolutions = %v, want %v", r.Resolutions, want)
		}
		wantAttempts(t, r,
			"2001:db8::1 20ms+310ms, next after 250ms by default: dial tcp6 [2001:db8::1]:80: called off: another attempt has won",
			"192.0.2.1 270ms+60ms, next after 250ms by default, hedge")

		w.dial("a.test:80")
		if r := last(); r.Prefer != "ip4" || r.Winner != 0 {
			t.Errorf("report = %+v, want IPv4 to win at once", r)
		}
		wantAttempts(t, last(), "192.0.2.1 0s+60ms, next after 120ms by prefix")
	})
}

func TestDialDone_SaysWhyAllFailed(t *testing.T) {
	reported(t, transport.Options{ConnectionAttemptDelay: 600 * ms}, func(w *world, last func() transport.DialReport) {
		w.host("a.test", "192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4")
		for i := range 4 {
			w.link(fmt.Sprintf("192.0.2.%d", i+1), simnet.Link{Fault: simnet.BlackHole})
		}
		err := w.fails("http://a.test/", hostwise.ConnectTimeout, hostwise.PhaseConnect)
		r := last()
		if r.Winner != -1 || !errors.Is(err, r.Err) || r.Elapsed != 10*time.Second {
			t.Errorf("report = %+v, want no winner and %v", r, err)
		}
		wantAttempts(t, r, // the delays grow, to 2 s at most
			"192.0.2.1 0s+10s, next after 600ms by option: dial tcp4 192.0.2.1:80: i/o timeout",
			"192.0.2.2 600ms+9.4s, next after 600ms by option, hedge: dial tcp4 192.0.2.2:80: i/o timeout",
			"192.0.2.3 1.2s+8.8s, next after 1.2s by option, hedge: dial tcp4 192.0.2.3:80: i/o timeout",
			"192.0.2.4 2.4s+7.6s, next after 2s by option, hedge: dial tcp4 192.0.2.4:80: i/o timeout")

		w.fails("http://none.test/", hostwise.DNSNXDomain, hostwise.PhaseResolve)
		r = last()
		if len(r.Attempts) != 0 || r.Winner != -1 || hostwise.KindOf(r.Err) != hostwise.DNSNXDomain || len(r.Resolutions) != 2 || hostwise.KindOf(r.Resolutions[0].Err) != hostwise.DNSNXDomain {
			t.Errorf("report = %+v, want no such host, twice", r)
		}
	})
}

func TestDialDone_CalledOffByTheCaller(t *testing.T) {
	reported(t, transport.Options{}, func(w *world, last func() transport.DialReport) {
		w.host("a.test", "192.0.2.1")
		w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
		ctx, cancel := context.WithCancel(context.Background())
		time.AfterFunc(100*ms, cancel)
		_, err := w.tr.DialContext(ctx, "tcp", "a.test:80")
		if r := last(); r.Err != err || r.Winner != -1 || r.Elapsed != 100*ms {
			t.Errorf("report = %+v, want %v", r, err)
		}
		wantAttempts(t, last(), "192.0.2.1 0s+100ms, next after 250ms by default: dial tcp4 192.0.2.1:80: context canceled")
	})
}

func TestDialDone_EachSourceOfDelays(t *testing.T) {
	reported(t, transport.Options{}, func(w *world, last func() transport.DialReport) {
		for i := range 30 {
			a := fmt.Sprintf("198.51.%d.1", i)
			w.host(fmt.Sprintf("h%d.test", i), a)
			w.link(a, simnet.Link{RTT: time.Duration(100+i) * ms})
			w.serve(ok, a+":80")
		}
		source := func(host string, delay time.Duration, from string) {
			t.Helper()
			w.dial(host + ":80")
			if a := last().Attempts[0]; a.Delay != delay || a.DelayFrom != from {
				t.Errorf("%s: delay %v from %s, want %v from %s", host, a.Delay, a.DelayFrom, delay, from)
			}
		}
		for i := range 20 {
			source(fmt.Sprintf("h%d.test", i), 250*ms, "default")
		}
		source("h20.test", 118*ms, "recent") // of 100 to 119 ms
		source("h20.test", 240*ms, "prefix")
	})
}

func TestDialDone_Canary(t *testing.T) {
	reported(t, transport.Options{}, func(w *world, last func() transport.DialReport) {
		for i := range 6 {
			w.host(fmt.Sprintf("h%d.test", i), fmt.Sprintf("2001:db8:%d::1", i), fmt.Sprintf("198.51.%d.1", i))
			w.serve(ok, fmt.Sprintf("198.51.%d.1:80", i), fmt.Sprintf("[2001:db8:%d::1]:80", i))
		}
		w.net.SetFamily(true, &simnet.Link{Fault: simnet.BlackHole})
		for i, want := range []time.Duration{250 * ms, 250 * ms, 250 * ms, 250 * ms, 0} {
			if got := w.dial(fmt.Sprintf("h%d.test:80", i)); got != want {
				t.Errorf("dial %d took %v, want %v", i, got, want)
			}
		}
		if s := w.tr.Stats().Race; !s.IPv6Down || s.IPv4Down || s.FamilyChanges != 1 || s.Canaries != 0 {
			t.Errorf("Stats = %+v, want IPv6 down", s)
		}
		time.Sleep(2 * time.Second)
		w.dial("h4.test:80")
		if r := last(); !r.Canary || r.Prefer != "ip6" || r.Winner != 1 {
			t.Errorf("report = %+v, want a canary that IPv4 wins", r)
		}
		w.net.SetFamily(true, nil)
		time.Sleep(4 * time.Second)
		for range 2 {
			w.dial("h5.test:80")
			if r := last(); !r.Canary || r.Winner != 0 || !r.Attempts[0].Addr.Addr().Is6() {
				t.Errorf("report = %+v, want a canary that IPv6 wins", r)
			}
		}
		if s := w.tr.Stats().Race; s.IPv6Down || s.FamilyChanges != 2 || s.Canaries != 3 {
			t.Errorf("Stats = %+v, want IPv6 back after 3 canaries", s)
		}
	})
}

func TestStats_Race(t *testing.T) {
	_, cert := certificate(t)
	inWorld(t, &http.Transport{DisableKeepAlives: true}, transport.Options{DisableMemory: true}, func(w *world) {
		w.host("example.com", "192.0.2.1", "2001:db8::1")
		w.serveTLS(ok, cert, "192.0.2.1:443", "[2001:db8::1]:443")
		w.takes(0, "https://example.com/") // IPv6
		w.link("2001:db8::1", simnet.Link{Fault: simnet.DataHole})
		w.takes(250*ms, "https://example.com/") // IPv4, while IPv6 shakes hands
		w.link("2001:db8::1", simnet.Link{Fault: simnet.BlackHole})
		w.takes(250*ms, "https://example.com/") // IPv4, while IPv6 connects
		w.link("2001:db8::1", simnet.Link{Fault: simnet.Refuse})
		w.takes(10*ms, "https://example.com/") // IPv4, no hedge
		w.fails("https://none.test/", hostwise.DNSNXDomain, hostwise.PhaseResolve)
		synctest.Wait()
		got := w.tr.Stats()
		want := transport.RaceStats{
			Dials: 5, Attempts: 7, Hedges: 2, WinsIPv6: 1, WinsIPv4: 3, WinsByIndex: [8]uint64{1, 3}, LostHandshakes: 1, DeadIPv6: nil,
		}
		if fmt.Sprintf("%+v", got.Race) != fmt.Sprintf("%+v", want) {
			t.Errorf("Stats().Race = %+v, want %+v", got.Race, want)
		}
		if got.Dials != want.Dials || got.Attempts != want.Attempts {
			t.Errorf("Stats() = %+v", got)
		}
	})
}

// A dial that nobody wins leaves no losers: its late connections are the
// caller's doing.
func TestStats_ADialCalledOffHasNoLosers(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.accept("192.0.2.1:443", func(c net.Conn) { time.Sleep(time.Second); c.Close() })
		ctx, cancel := context.WithTimeout(context.Background(), 100*ms)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, "GET", "https://a.test/", nil)
		if _, err := w.client.Do(req); err == nil {
			t.Error("no error")
		}
		time.Sleep(time.Second)
		if got := w.tr.Stats().Race; got.LostHandshakes != 0 || got.WinsIPv4 != 0 {
			t.Errorf("Stats().Race = %+v, want no loser and no winner", got)
		}
	})
}

func TestStats_DeadIPv6(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1", "2001:db8::1")
		w.link("2001:db8::1", simnet.Link{Fault: simnet.BlackHole})
		w.serve(ok, "192.0.2.1:80")
		w.dial("a.test:80")
		if got := w.tr.Stats().Race.DeadIPv6; got != nil {
			t.Errorf("DeadIPv6 = %q after one loss", got)
		}
		time.Sleep(10 * time.Minute)
		w.dial("a.test:80")
		if got := w.tr.Stats().Race.DeadIPv6; !slices.Equal(got, []string{"a.test:80"}) {
			t.Errorf("DeadIPv6 = %q, want a.test:80", got)
		}
	})
}
