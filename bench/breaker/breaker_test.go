package breaker

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/transport"
	"github.com/sony/gobreaker/v2"
)

const (
	down     = "www.host-1.example.com:443"
	hosts    = 10_000
	failures = 5
	cooldown = 30 * time.Second
)

var errDown = errors.New("connection refused")

func name(i int) string { return "www.host-" + strconv.Itoa(i) + ".example.com:443" }

func names() []string {
	list := make([]string, hosts)
	for i := range list {
		list[i] = name(i)
	}
	return list
}

// A table has a breaker for each host, as those who use a library of breakers
// have to write it themselves. request is a request that is let through, and
// has an outcome, or is refused.
type table struct {
	name    string
	request func(host string, outcome error) (refused bool)
	state   any // kept alive while it is measured
}

func gobreakers() table {
	m := &sync.Map{}
	return table{"gobreaker", func(host string, outcome error) bool {
		v, ok := m.Load(host)
		if !ok {
			v, _ = m.LoadOrStore(host, gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
				Name: host, Timeout: cooldown, ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= failures },
			}))
		}
		done, err := v.(*gobreaker.TwoStepCircuitBreaker[struct{}]).Allow()
		if err != nil {
			return true
		}
		done(outcome)
		return false
	}, m}
}

func failsafes() table {
	m := &sync.Map{}
	return table{"failsafe-go", func(host string, outcome error) bool {
		v, ok := m.Load(host)
		if !ok {
			v, _ = m.LoadOrStore(host, circuitbreaker.NewBuilder[any]().WithFailureThreshold(failures).WithDelay(cooldown).Build())
		}
		b := v.(circuitbreaker.CircuitBreaker[any])
		if !b.TryAcquirePermit() {
			return true
		}
		if outcome != nil {
			b.RecordError(outcome)
		} else {
			b.RecordSuccess()
		}
		return false
	}, m}
}

// A nowhere resolves every name.
type nowhere struct{}

func (nowhere) LookupNetIP(context.Context, string, string) ([]netip.Addr, error) {
	return []netip.Addr{netip.MustParseAddr("192.0.2.1")}, nil
}

// newTransport returns a Transport that can connect to no host.
func newTransport(tb testing.TB) *transport.Transport {
	refuse := func(context.Context, string, string) (net.Conn, error) { return nil, syscall.ECONNREFUSED }
	t, err := transport.New(&http.Transport{DialContext: refuse}, &transport.Options{
		Resolver: nowhere{}, Breaker: transport.BreakerOptions{FirstFailures: failures, Cooldown: 24 * time.Hour},
	})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { t.Close() })
	return t
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkHealthyHost is a request to one of 10,000 hosts, none of which has
// failed. hostwise is asked twice, as a round trip does: before and after.
// B/host is what is kept for each.
func BenchmarkHealthyHost(b *testing.B) {
	list := names()
	measure := func(b *testing.B, request func(host string), state any) {
		before := heap()
		for _, host := range list {
			request(host)
		}
		kept := max(0, heap()-before)
		b.ReportAllocs()
		i := 0
		for b.Loop() {
			request(list[i%hosts])
			i++
		}
		b.ReportMetric(float64(kept)/hosts, "B/host")
		runtime.KeepAlive(state)
	}
	b.Run("hostwise", func(b *testing.B) {
		t := newTransport(b)
		measure(b, func(host string) {
			for range 2 {
				if t.HostDown(host) != nil {
					b.Error("a healthy host is down")
				}
			}
		}, t)
	})
	for _, tab := range []table{gobreakers(), failsafes()} {
		b.Run(tab.name, func(b *testing.B) {
			measure(b, func(host string) {
				if tab.request(host, nil) {
					b.Error("a healthy host is down")
				}
			}, tab.state)
		})
	}
}

// BenchmarkDownHost is a request that is refused, with the error that says
// why. hostwise/RoundTrip is a whole call of RoundTrip.
func BenchmarkDownHost(b *testing.B) {
	t := newTransport(b)
	req, err := http.NewRequest("GET", "https://"+down+"/", nil)
	if err != nil {
		b.Fatal(err)
	}
	for range failures {
		if _, err := t.RoundTrip(req); hostwise.KindOf(err) != hostwise.ConnectRefused {
			b.Fatal(err)
		}
	}
	b.Run("hostwise", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if t.HostDown(down) == nil {
				b.Fatal("the host is not down")
			}
		}
	})
	b.Run("hostwise/RoundTrip", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := t.RoundTrip(req); hostwise.KindOf(err) != hostwise.HostDown {
				b.Fatal(err)
			}
		}
	})
	for _, tab := range []table{gobreakers(), failsafes()} {
		for range failures {
			tab.request(down, errDown)
		}
		b.Run(tab.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if !tab.request(down, errDown) {
					b.Fatal("the host is not down")
				}
			}
		})
	}
}

// BenchmarkFailingHost is four failures and an answer in turn, which does not
// trip. For hostwise, whose breaker cannot be charged from outside, see
// BenchmarkBreaker_FailingHost in package transport.
func BenchmarkFailingHost(b *testing.B) {
	for _, tab := range []table{gobreakers(), failsafes()} {
		b.Run(tab.name, func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				outcome := errDown
				if i%failures == 0 {
					outcome = nil
				}
				if tab.request(down, outcome) {
					b.Fatal("the host is down")
				}
			}
		})
	}
}
