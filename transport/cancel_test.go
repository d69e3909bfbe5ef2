package transport_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/loopnet"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
	"github.com/miekg/dns"
)

// canceled makes a request that is canceled after d, and returns its error.
func (w *world) canceled(d time.Duration, url string) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	defer time.AfterFunc(d, cancel).Stop()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		w.t.Error(err)
		return err
	}
	resp, err := w.client.Do(req)
	if err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return err
}

// inBubble counts the goroutines of the test's bubble. (Those of the runtime
// come and go.)
func inBubble() (n int, stacks string) {
	buf := make([]byte, 4<<20)
	stacks = string(buf[:runtime.Stack(buf, true)])
	return strings.Count(stacks, "synctest bubble"), stacks
}

// Whatever a race is at when its request is canceled, nothing of it is left
// after the dial's own deadline.
func TestCancel_LeavesNothing(t *testing.T) {
	const races = 10_000
	base, cert := anyHost(t)
	o := transport.Options{DialTimeout: 5 * time.Second, TLSHandshakeTimeout: 5 * time.Second, MaxConns: 100, MaxConnsPerHost: -1}
	inWorld(t, base, o, func(w *world) {
		rng := rand.New(rand.NewPCG(1, 2))
		// h0, h1, ... are of a kind each, and twenty races meet at each of them.
		const hosts, kinds = races / 20, 7
		name := func(i int) string { return fmt.Sprintf("h%d.test", i) }
		addr := func(family, i int) string {
			if family == 4 {
				return fmt.Sprintf("198.51.%d.%d", i/200, 1+i%200)
			}
			return fmt.Sprintf("2001:db8::%d", 1+i)
		}
		for i := range hosts {
			a4, a6 := addr(4, i), addr(6, i)
			if i%kinds > 0 {
				w.host(name(i), a4, a6)
			}
			switch i % kinds {
			case 0: // resolves for ever
				w.dns.Handle(name(i), dns.TypeANY, simnet.Rule{Silent: true})
			case 1: // resolves at leisure, then both families are dead
				w.dns.Handle(name(i), dns.TypeAAAA, simnet.Rule{Delay: time.Duration(rng.IntN(1000)) * ms, Silent: i%2 == 0})
				w.link(a4, simnet.Link{Fault: simnet.BlackHole})
				w.link(a6, simnet.Link{Fault: simnet.BlackHole})
			case 2: // waits for the delay
				w.link(a6, simnet.Link{Fault: simnet.BlackHole})
				w.link(a4, simnet.Link{RTT: 300 * ms})
			case 3: // shakes hands for ever
				w.accept(a4+":443", func(c net.Conn) { io.Copy(io.Discard, c); c.Close() })
			case 4: // refuses
				w.link(a4, simnet.Link{RTT: 100 * ms})
				w.link(a6, simnet.Link{RTT: 100 * ms})
			case 5: // healthy, and slow
				w.serveTLS(ok, cert, a4+":443", "["+a6+"]:443")
				w.link(a4, simnet.Link{RTT: 200 * ms})
				w.link(a6, simnet.Link{RTT: 400 * ms})
			case 6: // connects, and no data comes
				w.serveTLS(ok, cert, a4+":443", "["+a6+"]:443")
				w.link(a6, simnet.Link{Fault: simnet.DataHole, RTT: 50 * ms})
				w.link(a4, simnet.Link{RTT: 50 * ms})
			}
		}
		synctest.Wait()
		before, _ := inBubble()
		phases := map[hostwise.Phase]int{}
		const queued hostwise.Phase = "queued"
		var mu sync.Mutex
		var wg sync.WaitGroup
		for i := range races {
			after := time.Duration(rng.IntN(int(2 * time.Second)))
			wg.Go(func() {
				err := w.canceled(after, "https://"+name(i%hosts)+"/")
				mu.Lock()
				defer mu.Unlock()
				var e *hostwise.ConnectError
				switch {
				case hostwise.KindOf(err) != hostwise.Canceled:
				case errors.As(err, &e) && len(e.Attempts) == 0:
					phases[queued]++
				default:
					phases[hostwise.PhaseOf(err)]++
				}
			})
			time.Sleep(time.Duration(rng.IntN(int(ms)))) // 5 s in all
		}
		wg.Wait()
		t.Logf("%d races, canceled while at %v", races, phases)
		for _, p := range []hostwise.Phase{hostwise.PhaseResolve, queued, hostwise.PhaseConnect, hostwise.PhaseTLS} {
			if phases[p] < races/100 {
				t.Errorf("%d races canceled in phase %s, want 1 in 100 at least", phases[p], p)
			}
		}
		w.tr.CloseIdleConnections()
		time.Sleep(o.DialTimeout + o.TLSHandshakeTimeout)
		w.tr.CloseIdleConnections() // of dials that were nobody's any more
		synctest.Wait()
		if got := w.sockets(); got != 0 {
			t.Errorf("%d sockets left, want 0", got)
		}
		if got := w.tr.Stats().Conns; got != 0 {
			t.Errorf("%d connections counted, want 0", got)
		}
		for i := range hosts {
			w.link(addr(6, i), simnet.Link{}) // so that the servers hear of it
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if got, stacks := inBubble(); got != before {
			t.Errorf("%d goroutines, %d before:\n%s", got, before, stacks)
		}
	})
}

// The same over real sockets.
func TestCancel_LeavesNoDescriptor(t *testing.T) {
	if _, err := os.Stat("/proc/self/fd"); err != nil {
		t.Skip("no /proc/self/fd here:", err)
	}
	fds := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	n, err := loopnet.Start(&loopnet.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer n.Close()
	r, err := dnscache.New(&dnscache.Options{Servers: []string{n.DNSAddr()}, HostsFile: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	tr, err := transport.New(&http.Transport{TLSClientConfig: &tls.Config{RootCAs: n.RootCAs()}}, &transport.Options{Resolver: r, DialTimeout: time.Second, TLSHandshakeTimeout: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	w := &world{t: t, client: &http.Client{Transport: tr}}
	before, open := fds(), n.Stats().Open
	var wg sync.WaitGroup
	for i := range 20 {
		for _, h := range n.Hosts() {
			wg.Go(func() { w.canceled(time.Duration(rand.IntN(200+i))*ms, h.URL) })
		}
		time.Sleep(10 * ms)
	}
	wg.Wait()
	// The resolver keeps a few sockets, and idle connections of dials that
	// were nobody's any more are closed as they come.
	const resolver = 16
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * ms) {
		tr.CloseIdleConnections()
		got, conns := fds(), tr.Stats().Conns
		if got <= before+resolver && conns == 0 && n.Stats().Open <= open {
			t.Logf("%d descriptors, %d before", got, before)
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d descriptors, %d before; %d connections", got, before, conns)
		}
	}
}
