package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
)

// A parkedTest is a network with a Transport, in a bubble. 192.0.2.1 is a
// black hole, 2001:db8::1 another one.
type parkedTest struct {
	*testing.T
	net    *simnet.Network
	tr     *Transport
	known  names
	closes []io.Closer
	parked int // names used by silence
}

func inParked(t *testing.T, o Options, f func(p *parkedTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		p := &parkedTest{T: t, net: simnet.New(1), known: names{}}
		p.net.SetLink(addr4, simnet.Link{Fault: simnet.BlackHole})
		p.net.SetLink(addr6, simnet.Link{Fault: simnet.BlackHole})
		if o.Resolver == nil {
			o.Resolver = p.known
		}
		var err error
		p.tr, err = New(&http.Transport{DialContext: p.net.DialContext, DisableKeepAlives: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, &o)
		if err != nil {
			t.Fatal(err)
		}
		defer func() {
			p.tr.Close()
			for _, c := range p.closes {
				c.Close()
			}
			time.Sleep(time.Minute)
		}()
		f(p)
	})
}

// serve answers requests at addresses, 10 ms away.
func (p *parkedTest) serve(addrs ...string) {
	p.Helper()
	for _, a := range addrs {
		addr := netip.MustParseAddrPort(a)
		p.net.SetLink(addr.Addr(), simnet.Link{RTT: 10 * time.Millisecond})
		l, err := p.net.Listen(a)
		if err != nil {
			p.Fatal(err)
		}
		s := &http.Server{Handler: page, ErrorLog: log.New(io.Discard, "", 0)}
		go s.Serve(l)
		p.closes = append(p.closes, s)
	}
}

// host makes a name known.
func (p *parkedTest) host(name string, addrs ...string) {
	p.known[name] = nil
	for _, a := range addrs {
		p.known[name] = append(p.known[name], netip.MustParseAddr(a))
	}
}

// get fetches a page and says how long it took.
func (p *parkedTest) get(ctx context.Context, url string) (took time.Duration, err error) {
	start := time.Now()
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		p.Fatal(err)
	}
	resp, err := p.tr.RoundTrip(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	return time.Since(start), err
}

// gets wants the page at once: within 100 ms.
func (p *parkedTest) gets(host string) {
	p.Helper()
	if took, err := p.get(context.Background(), "http://"+host+"/"); err != nil || took > 100*time.Millisecond {
		p.Errorf("%s: %v after %v, want its page at once", host, err, took)
	}
}

// fails wants a failure of a Kind after some time, and returns it.
func (p *parkedTest) fails(host string, k hostwise.Kind, after time.Duration) error {
	p.Helper()
	took, err := p.get(context.Background(), "http://"+host+"/")
	if hostwise.KindOf(err) != k || took != after {
		p.Errorf("%s: %v after %v, want %s after %v", host, err, took, k, after)
	}
	return err
}

// refused wants the host to be down, without a dial.
func (p *parkedTest) refused(host string) *hostwise.HostDownError {
	p.Helper()
	before := len(p.net.Dials())
	var down *hostwise.HostDownError
	if err := p.fails(host, hostwise.HostDown, 0); !errors.As(err, &down) {
		p.Fatalf("%s: %v, want a HostDownError", host, err)
	}
	if n := len(p.net.Dials()) - before; n > 0 {
		p.Errorf("%s: %d dials, want none", host, n)
	}
	return down
}

// silence makes addresses silent, of new names each.
func (p *parkedTest) silence(addrs ...string) {
	p.Helper()
	for _, a := range addrs {
		var wg sync.WaitGroup
		var list []string
		for range silentAfter {
			p.parked++
			list = append(list, fmt.Sprintf("parked%d.test", p.parked))
			p.host(list[len(list)-1], a)
		}
		for _, name := range list {
			wg.Go(func() { p.fails(name, hostwise.ConnectTimeout, 10*time.Second) })
		}
		wg.Wait()
	}
	if got := p.tr.Stats().AddressesSilent; got != len(addrs) {
		p.Fatalf("%d silent addresses, want %d", got, len(addrs))
	}
}

// A crawlResult is what became of a crawl of 10,000 hosts.
type crawlResult struct {
	dials        int           // to the black hole
	lost         time.Duration // that workers spent on hosts without a page
	spent        time.Duration // and on the others
	pages, fails int
	took         time.Duration
}

// crawl visits 10,000 names with 64 workers, each of them busy elsewhere for
// a second between two visits. parked says which names lead to the black hole
// only; the others have a second, live address.
func crawl(t *testing.T, o Options, parked func(i int) bool) (r crawlResult) {
	const workers, hosts, lives = 64, 10_000, 16
	inParked(t, o, func(p *parkedTest) {
		for i := range lives {
			p.serve(fmt.Sprintf("198.51.100.%d:80", i))
		}
		for i := range hosts {
			p.host(fmt.Sprintf("h%d.test", i), "192.0.2.1")
			if !parked(i) {
				p.host(fmt.Sprintf("h%d.test", i), "192.0.2.1", fmt.Sprintf("198.51.100.%d", i%lives))
			}
		}
		var mu sync.Mutex // protects r and next
		next := 0
		start := time.Now()
		var wg sync.WaitGroup
		for range workers {
			wg.Go(func() {
				mu.Lock()
				defer mu.Unlock()
				for next < hosts {
					i := next
					next++
					mu.Unlock()
					took, err := p.get(context.Background(), fmt.Sprintf("http://h%d.test/", i))
					time.Sleep(time.Second)
					mu.Lock()
					if err != nil {
						r.fails++
						r.lost += took
					} else {
						r.pages++
						r.spent += took
					}
				}
			})
		}
		wg.Wait()
		r.took = time.Since(start)
		r.dials = p.net.Stats().Hosts[addr4].Dials
	})
	return r
}

func (r crawlResult) String() string {
	return fmt.Sprintf("%d dials to the black hole, %v of workers' time for the %d names without a page, %v for %d pages, %v in all",
		r.dials, r.lost.Round(time.Second), r.fails, r.spent.Round(time.Second), r.pages, r.took.Round(time.Second))
}

func TestCrawl_ParkedNamesAtOneBlackHole(t *testing.T) {
	all := func(int) bool { return true }
	before, after := crawl(t, Options{DisableMemory: true}, all), crawl(t, Options{}, all)
	t.Logf("without the ledger: %v", before)
	t.Logf("with it:            %v", after)
	// One connect for each worker, all of them begun before the first has
	// timed out, and the probes: after 30 s, 60 s and 120 s.
	if most := 64 + 3; after.dials > most {
		t.Errorf("%d dials, want at most %d", after.dials, most)
	}
	if most := (64 + 3) * 10 * time.Second; after.lost > most {
		t.Errorf("%v lost, want at most %v", after.lost, most)
	}
	if before.dials != 10_000 || after.fails != 10_000 {
		t.Errorf("%d dials without the ledger and %d failures with it, want 10000 each", before.dials, after.fails)
	}
}

// No page is lost where each name has a live address, too. That the black hole
// is silent is found out by names that have no other.
func TestCrawl_SecondAddressBehindABlackHole(t *testing.T) {
	all := crawl(t, Options{}, func(int) bool { return false })
	t.Logf("behind all names: %v", all)
	if all.pages != 10_000 {
		t.Errorf("%d pages, want 10000", all.pages)
	}
	oneInTen := func(i int) bool { return i%10 == 0 }
	before, after := crawl(t, Options{DisableMemory: true}, oneInTen), crawl(t, Options{}, oneInTen)
	t.Logf("behind nine names of ten, without the ledger: %v", before)
	t.Logf("with it:                                      %v", after)
	if after.pages != 9000 || before.pages != 9000 {
		t.Errorf("%d and %d pages, want 9000", before.pages, after.pages)
	}
	if after.lost > before.lost/10 || after.spent > before.spent/10 {
		t.Error("the ledger does not save nine tenths of the time")
	}
}
