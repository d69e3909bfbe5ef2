package dnscache_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
)

// Whatever the caller's functions do, lookups are answered, and Close ends
// all goroutines.
func TestCallers(t *testing.T) {
	for _, way := range []string{"panic", "Goexit", "block", "call back"} {
		for _, function := range []string{"QueryDone", "LookupDone", "Dial udp", "Dial tcp", "Subscribe"} {
			t.Run(function+"/"+way, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := simnet.New(1)
					stop := make(chan struct{})
					var r *dnscache.Resolver
					var acted, faults atomic.Uint64
					act := func() {
						acted.Add(1)
						switch way {
						case "panic":
							faults.Add(1)
							panic("boom")
						case "Goexit":
							faults.Add(1)
							runtime.Goexit()
						case "block":
							<-stop
						case "call back":
							r.Stats()
							r.Forget("none.test")
							r.ForgetFailures()
							r.Snapshot(io.Discard)
							r.AppendCached(nil, "ip4", "none.test")
							if !strings.HasPrefix(function, "Dial") { // whose server it would ask
								r.LookupNetIP(context.Background(), "ip4", "back.test")
							}
						}
					}
					o := dnscache.Options{HostsFile: os.DevNull, Dial: n.DialContext}
					switch function {
					case "QueryDone":
						o.Hooks.QueryDone = func(q dnscache.QueryDone) {
							if q.Host != "back.test" {
								act()
							}
						}
					case "LookupDone":
						o.Hooks.LookupDone = func(l dnscache.LookupDone) {
							if l.Host != "back.test" {
								act()
							}
						}
					case "Dial udp", "Dial tcp":
						o.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
							if address == "192.0.2.53:53" {
								act()
							}
							return n.DialContext(ctx, network, address)
						}
					}
					var servers []*simnet.DNS
					for _, a := range []string{"192.0.2.53", "192.0.2.54"} {
						n.SetLink(netip.MustParseAddr(a), simnet.Link{RTT: rtt})
						s := n.ServeDNS(a + ":53")
						for _, h := range names(50) {
							s.AddHost(h, 60, netip.MustParseAddr("192.0.2.1"))
						}
						servers = append(servers, s)
						if function == "Dial tcp" {
							a = "tcp://" + a
						}
						o.Servers = append(o.Servers, a)
					}
					var err error
					if r, err = dnscache.New(&o); err != nil {
						t.Fatal(err)
					}
					var wg sync.WaitGroup
					for _, h := range names(50) {
						if function == "Subscribe" {
							r.Subscribe("ip4", h, func(string, []netip.Addr, error) { act() })
						}
						wg.Go(func() {
							start := time.Now()
							_, err := r.LookupNetIP(context.Background(), "ip4", h)
							if took := time.Since(start); err != nil || took > 3*time.Second {
								t.Errorf("LookupNetIP(%s) took %v, %v", h, took, err)
							}
						})
					}
					wg.Wait()
					synctest.Wait()
					s := r.Stats()
					if acted.Load() == 0 || s.HookPanics != faults.Load() {
						t.Errorf("called %d times, %d of %d panics counted", acted.Load(), s.HookPanics, faults.Load())
					}
					want := map[string]string{"panic": "has panicked: boom", "Goexit": "has ended the goroutine"}[way]
					if !strings.Contains(s.FirstHookPanic, want) || (want != "") != strings.Contains(s.FirstHookPanic, "callers_test.go") {
						t.Errorf("FirstHookPanic = %q, want it to say %q, and where", s.FirstHookPanic, want)
					}
					start := time.Now()
					r.Close()
					took := time.Since(start)
					limit := time.Duration(0)
					if way == "block" {
						limit = time.Second
					}
					if took > limit || took < limit && !strings.HasPrefix(function, "Dial") {
						t.Errorf("Close took %v, want %v", took, limit)
					}
					close(stop)
					for _, s := range servers {
						s.Close()
					}
				})
			})
		}
	}
}

// Close may be called by a hook, for which it waits a second.
func TestCallers_Close(t *testing.T) {
	for _, function := range []string{"QueryDone", "LookupDone", "Subscribe"} {
		var w *world
		var took atomic.Int64
		end := func() {
			start := time.Now()
			w.r.Close()
			took.Store(int64(time.Since(start)))
		}
		var o dnscache.Options
		switch function {
		case "QueryDone":
			o.Hooks.QueryDone = func(dnscache.QueryDone) { end() }
		case "LookupDone":
			o.Hooks.LookupDone = func(dnscache.LookupDone) { end() }
		}
		inWorld(t, 1, o, func(in *world) {
			w = in
			w.host("a.test", 60, "192.0.2.1")
			if function == "Subscribe" {
				w.r.Subscribe("ip4", "a.test", func(string, []netip.Addr, error) { end() })
			} else {
				w.gets("ip4", "a.test", rtt, "192.0.2.1")
			}
			time.Sleep(2 * time.Second)
			if _, err := w.r.LookupNetIP(context.Background(), "ip4", "b.test"); !errors.Is(err, net.ErrClosed) || time.Duration(took.Load()) != time.Second {
				t.Errorf("%s: Close took %v, and then: %v", function, time.Duration(took.Load()), err)
			}
		})
	}
}

// Hooks come one after the other, in order; when 4,096 wait, the others are
// dropped and counted.
func TestCallers_HooksWait(t *testing.T) {
	var running, told, dropped atomic.Int64
	stop := make(chan struct{})
	var last string
	inWorld(t, 1, dnscache.Options{Hooks: dnscache.Hooks{LookupDone: func(l dnscache.LookupDone) {
		if running.Add(1) > 1 {
			t.Error("two hooks at a time")
		}
		<-stop
		told.Add(1)
		last = l.Host
		running.Add(-1)
	}}}, func(w *world) {
		stop = make(chan struct{})
		hosts := names(5000)
		for _, h := range hosts {
			w.r.LookupNetIP(context.Background(), "ip4", h)
		}
		synctest.Wait() // a hook may be called after its lookup has returned
		dropped.Store(int64(w.r.Stats().HooksDropped))
		close(stop)
		synctest.Wait()
		t.Logf("%d told, %d dropped", told.Load(), dropped.Load())
		if told.Load() != 4097 || dropped.Load() != 5000-4097 || last != hosts[4096] {
			t.Errorf("%d told, the last of %s, and %d dropped, want 4097 in order", told.Load(), last, dropped.Load())
		}
	})
}

// A nameserver whose Dial panics is one that cannot be reached, and the error
// says why.
func TestCallers_DialError(t *testing.T) {
	r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, Dial: func(context.Context, string, string) (net.Conn, error) {
		panic(&net.DNSError{Err: "no such host", IsNotFound: true})
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	_, err = r.LookupNetIP(context.Background(), "ip4", "a.test")
	if hostwise.KindOf(err) != hostwise.DNSServerUnreachable || !strings.Contains(err.Error(), "has panicked: ") {
		t.Errorf("%v, kind %s", err, hostwise.KindOf(err))
	}
	var e *net.DNSError
	if errors.As(err, &e) && e.IsNotFound {
		t.Errorf("%v is taken for the nameserver's word", e)
	}
}
