package transport_test

import (
	"errors"
	"fmt"
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

func TestRace_V6BlackHoleCostsOneAttemptDelayOnce(t *testing.T) {
	inWorld(t, &http.Transport{DisableKeepAlives: true}, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1", "2001:db8::1")
		w.serve(ok, "192.0.2.1:80", "[2001:db8::1]:80")
		w.link("2001:db8::1", simnet.Link{Fault: simnet.BlackHole})
		w.takes(250*ms, "http://a.test/")
		w.takes(0, "http://a.test/")
		if got := w.dials("2001:db8::1"); got != 1 {
			t.Errorf("%d attempts over IPv6, want 1", got)
		}
		time.Sleep(10 * time.Minute) // then IPv6 gets another chance
		w.takes(250*ms, "http://a.test/")
		w.link("2001:db8::1", simnet.Link{})
		time.Sleep(20 * time.Minute) // twice as long as before
		w.takes(0, "http://a.test/")
		if got := w.dials("2001:db8::1"); got != 3 {
			t.Errorf("%d attempts over IPv6, want 3", got)
		}
	})
}

func TestRace_SilentAAAACostsTheResolutionDelay(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.dns.Handle("a.test", dns.TypeAAAA, simnet.Rule{Silent: true})
		w.serve(ok, "192.0.2.1:80")
		w.takes(50*ms, "http://a.test/")
	})
}

func TestRace_DNS(t *testing.T) {
	v4, v6 := []netip.Addr{netip.MustParseAddr("192.0.2.1")}, []netip.Addr{netip.MustParseAddr("2001:db8::1")}
	for _, tt := range []struct {
		name    string
		a, aaaa simnet.Rule
		faults  map[string]simnet.Fault
		want    time.Duration
		winner  string
	}{
		{"IPv6 is preferred", simnet.Rule{Addrs: v4}, simnet.Rule{Addrs: v6}, nil, 0, "2001:db8::1"},
		{"AAAA within the resolution delay", simnet.Rule{Addrs: v4}, simnet.Rule{Addrs: v6, Delay: 20 * ms}, nil, 20 * ms, "2001:db8::1"},
		{"AAAA after it", simnet.Rule{Addrs: v4}, simnet.Rule{Addrs: v6, Delay: 500 * ms}, nil, 50 * ms, "192.0.2.1"},
		{"the delay counts from the first answer", simnet.Rule{Addrs: v4, Delay: 100 * ms}, simnet.Rule{Addrs: v6, Delay: 120 * ms}, nil, 120 * ms, "2001:db8::1"},
		{"AAAA does not wait for A", simnet.Rule{Silent: true}, simnet.Rule{Addrs: v6}, nil, 0, "2001:db8::1"},
		{"an error is an answer", simnet.Rule{Addrs: v4}, simnet.Rule{Rcode: dns.RcodeServerFailure}, nil, 0, "192.0.2.1"},
		{"so is NXDOMAIN", simnet.Rule{Addrs: v4, Delay: 1}, simnet.Rule{Rcode: dns.RcodeNameError}, nil, 1, "192.0.2.1"},
		{"a late AAAA joins", simnet.Rule{Addrs: v4}, simnet.Rule{Addrs: v6, Delay: 500 * ms}, map[string]simnet.Fault{"192.0.2.1": simnet.BlackHole}, 500 * ms, "2001:db8::1"},
		{"refusal starts the next", simnet.Rule{Addrs: v4}, simnet.Rule{Addrs: v6}, map[string]simnet.Fault{"2001:db8::1": simnet.Refuse}, 10 * ms, "192.0.2.1"},
		{"so does no route", simnet.Rule{Addrs: v4}, simnet.Rule{Addrs: v6}, map[string]simnet.Fault{"2001:db8::1": simnet.NoRoute}, 10 * ms, "192.0.2.1"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, transport.Options{}, func(w *world) {
				w.dns.Handle("a.test", dns.TypeA, tt.a)
				w.dns.Handle("a.test", dns.TypeAAAA, tt.aaaa)
				w.serve(ok, "192.0.2.1:80", "[2001:db8::1]:80")
				for a, f := range tt.faults {
					w.link(a, simnet.Link{Fault: f})
				}
				w.takes(tt.want, "http://a.test/")
				dials := w.net.Dials()
				if last := dials[len(dials)-1]; last.Addr.Addr().String() != tt.winner || last.Err != nil {
					t.Errorf("last dial = %v, %v, want %s", last.Addr, last.Err, tt.winner)
				}
			})
		})
	}
}

func TestRace_DeadFirstAddress(t *testing.T) {
	inWorld(t, &http.Transport{DisableKeepAlives: true}, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1", "192.0.2.2")
		w.serve(ok, "192.0.2.2:80")
		w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
		w.takes(250*ms, "http://a.test/")
		w.takes(0, "http://a.test/") // the winner goes first
	})
}

func TestRace_AllEightAddressesAreTried(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		var addrs []string
		for i := range 4 {
			addrs = append(addrs, fmt.Sprintf("192.0.2.%d", i+1), fmt.Sprintf("2001:db8::%d", i+1))
		}
		w.host("a.test", addrs...)
		for _, a := range addrs {
			w.link(a, simnet.Link{Fault: simnet.BlackHole})
		}
		err := w.fails("http://a.test/", hostwise.ConnectTimeout, hostwise.PhaseConnect)
		if d := time.Since(w.start); d != 10*time.Second {
			t.Errorf("took %v, want 10s", d)
		}
		var e *hostwise.ConnectError
		if !errors.As(err, &e) || len(e.Attempts) != 8 {
			t.Fatalf("err = %v, want 8 attempts", err)
		}
		var starts []time.Duration
		for i, a := range e.Attempts {
			starts = append(starts, a.Start)
			if got, want := a.Addr.Addr().Is6(), i%2 == 0; got != want {
				t.Errorf("attempt %d to %v: the families do not alternate", i, a.Addr)
			}
		}
		if want := []time.Duration{0, 250 * ms, 500 * ms, 1000 * ms, 2000 * ms, 3000 * ms, 4000 * ms, 5000 * ms}; !slices.Equal(starts, want) {
			t.Errorf("starts = %v, want %v", starts, want)
		}
	})
}

func TestRace_TLSIsPartOfIt(t *testing.T) {
	_, cert := certificate(t)
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("example.com", "192.0.2.1", "2001:db8::1")
		w.serveTLS(ok, cert, "192.0.2.1:443", "[2001:db8::1]:443")
		w.link("2001:db8::1", simnet.Link{Fault: simnet.DataHole})
		w.takes(250*ms, "https://example.com/")
	})
}

func TestRace_LosersAreClosed(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1", "2001:db8::1")
		w.serve(ok, "192.0.2.1:80", "[2001:db8::1]:80")
		w.link("2001:db8::1", simnet.Link{RTT: 400 * ms})
		w.takes(250*ms, "http://a.test/")
		synctest.Wait()
		if s := w.net.Stats().Hosts[netip.MustParseAddr("2001:db8::1")]; s.Canceled != 1 || s.Established != 0 {
			t.Errorf("loser: %+v, want it canceled before it was established", s)
		}
	})
}
