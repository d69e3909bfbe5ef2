package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/sony/gobreaker/v2"
)

// An addressesTest drives the ledger for one address.
type addressesTest struct {
	*testing.T
	*addresses
}

var (
	parked  = netip.MustParseAddrPort("192.0.2.1:80")
	errLost = errors.New("i/o timeout")
)

func inAddresses(t *testing.T, f func(l *addressesTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(&addressesTest{t, newAddresses()}) })
}

// lose has a connect for a name time out now, without an answer meanwhile.
func (l *addressesTest) lose(name string, p *addressProbe) {
	l.timedOut(parked, name, l.answers(parked), time.Now(), errLost, p)
}

// silence makes the address silent and returns when to retry.
func (l *addressesTest) silence() time.Time {
	l.Helper()
	for _, name := range []string{"a", "b", "c"} {
		l.lose(name, nil)
	}
	return l.down().RetryAt
}

func (l *addressesTest) down() *hostwise.HostDownError {
	l.Helper()
	p, down := l.allow(parked, time.Now(), true)
	if down == nil || p != nil {
		l.Fatalf("at %v the address is not silent", time.Now())
	}
	return down
}

func (l *addressesTest) up() {
	l.Helper()
	if p, down := l.allow(parked, time.Now(), true); p != nil || down != nil {
		l.Fatalf("allow = %v, %v, want an open way", p, down)
	}
}

func (l *addressesTest) takeProbe() *addressProbe {
	l.Helper()
	if p, down := l.allow(parked, time.Now(), false); p != nil || down != nil {
		l.Fatalf("allow without a probe = %v, %v, want neither", p, down)
	}
	p, down := l.allow(parked, time.Now(), true)
	if p == nil {
		l.Fatalf("no probe at %v: %v", time.Now(), down)
	}
	return p
}

func TestAddresses_SilentAfterThreeNames(t *testing.T) {
	inAddresses(t, func(l *addressesTest) {
		time.Sleep(time.Minute)
		for range 5 {
			l.lose("a", nil)
		}
		l.lose("b", nil)
		l.up()
		if got := l.silent(); got != 0 {
			t.Errorf("%d silent addresses after two names, want none", got)
		}
		time.Sleep(time.Hour)
		since := time.Now()
		l.lose("c", nil)
		time.Sleep(time.Second)
		e := l.down()
		if e.Kind != hostwise.HostDown || !e.Since.Equal(since) || e.Failures != 7 || e.Last != errLost || !errors.Is(e, gobreaker.ErrOpenState) {
			t.Errorf("error = %#v, want 7 failures, silent since %v", e, since)
		}
		if got := l.silent(); got != 1 {
			t.Errorf("%d silent addresses, want 1", got)
		}
		if p, down := l.allow(netip.MustParseAddrPort("192.0.2.1:443"), since, true); p != nil || down != nil {
			t.Error("another port of the address is silent, too")
		}
		l.answered(parked)
		l.up()
		l.lose("a", nil)
		l.lose("b", nil)
		l.up() // it begins anew
		l.answered(parked)
		if got := l.entries(); got != 0 {
			t.Errorf("%d entries for an address that answers", got)
		}
	})
}

// Connects that time out do not count if another one, under way at the same
// time, was answered.
func TestAddresses_AnAnswerMeanwhileExcuses(t *testing.T) {
	inAddresses(t, func(l *addressesTest) {
		for i := range 20 {
			began := l.answers(parked)
			l.answered(parked)
			l.timedOut(parked, fmt.Sprint(i), began, time.Now(), errLost, nil)
		}
		l.up()
		if got := l.entries(); got != 0 {
			t.Errorf("%d entries, want none", got)
		}
		l.silence()
	})
}

// 30 s, doubling to an hour, each a tenth longer or shorter.
func TestAddresses_CoolDownDoubles(t *testing.T) {
	var first []time.Duration
	for range 50 {
		inAddresses(t, func(l *addressesTest) {
			retryAt := l.silence()
			first = append(first, time.Until(retryAt))
			for _, want := range []time.Duration{30, 60, 120, 240, 480, 960, 1920, 3600, 3600} {
				want *= time.Second
				got := time.Until(retryAt)
				if most := min(want+want/10, time.Hour); got < want-want/10 || got > most {
					t.Fatalf("cool-down of %v, want %v ± 10 %%, at most an hour", got, want)
				}
				l.lose("late", nil) // begun before: it does not extend
				time.Sleep(got - 1)
				l.down()
				time.Sleep(time.Nanosecond)
				l.lose("d", l.takeProbe())
				retryAt = l.down().RetryAt
			}
		})
	}
	if slices.Max(first)-slices.Min(first) < 2*time.Second {
		t.Errorf("fifty addresses cool down for %v: no jitter", first)
	}
}

func TestAddresses_OneProbe(t *testing.T) {
	inAddresses(t, func(l *addressesTest) {
		time.Sleep(time.Until(l.silence()))
		lost := l.takeProbe()
		if got, want := l.down().RetryAt, time.Now().Add(time.Minute); !got.Equal(want) {
			t.Errorf("RetryAt = %v, want the end of the probe's time, %v", got, want)
		}
		time.Sleep(time.Minute - 1)
		l.down()
		time.Sleep(time.Nanosecond)
		second := l.takeProbe() // nobody has reported on the first
		l.lose("d", lost)
		l.release(lost)
		if got, want := l.down().RetryAt, time.Now().Add(time.Minute); !got.Equal(want) {
			t.Errorf("RetryAt = %v, want the end of the second probe's time, %v", got, want)
		}
		l.release(second) // it has found out nothing
		third := l.takeProbe()
		l.answered(parked)
		l.up()
		l.release(third)
		l.lose("d", third) // from before
		l.up()
	})
}

func TestAddresses_ForgetSince(t *testing.T) {
	inAddresses(t, func(l *addressesTest) {
		l.lose("a", nil)
		l.lose("b", nil)
		time.Sleep(time.Minute)
		outage := time.Now()
		l.lose("a", nil) // was charged before
		l.lose("c", nil)
		l.down()
		l.forgetSince(outage)
		l.up()
		l.lose("d", nil)
		retryAt := l.down().RetryAt // two names and this one

		time.Sleep(time.Until(retryAt))
		outage = time.Now()
		l.lose("d", l.takeProbe())
		l.down()
		l.forgetSince(outage)
		l.lose("e", l.takeProbe()) // at once
		if got := time.Until(l.down().RetryAt); got > 66*time.Second {
			t.Errorf("cool-down of %v, want 60s: the outage's probe is forgotten", got)
		}
		l.forgetSince(time.Time{})
		l.up()
		if got := l.entries(); got != 0 {
			t.Errorf("%d entries after all is forgotten", got)
		}
	})
}

func TestAddresses_TableIsBounded(t *testing.T) {
	const quiet, failing = 1000, 20_000
	l := newAddresses()
	now := time.Now()
	address := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 80)
	}
	for i := range quiet + failing {
		for n := range silentAfter {
			if n == 0 || i < quiet {
				l.timedOut(address(i), fmt.Sprint(n), 0, now.Add(time.Duration(i)), errLost, nil)
			}
		}
	}
	l.tidy(t)
	if got := l.entries(); got != maxAddresses {
		t.Errorf("%d entries, want %d", got, maxAddresses)
	}
	if got := l.silent(); got < quiet*95/100 {
		t.Errorf("%d of %d silent addresses are still known", got, quiet)
	}
	old := 0
	for i := range failing / 10 {
		if l.silences[address(quiet+i)] != nil {
			old++
		}
	}
	t.Logf("%d of %d silent ones left, and of the oldest %d others %d", l.silent(), quiet, failing/10, old)
	if old > failing/10*3/4 {
		t.Errorf("%d of the oldest %d are left, want the old ones to make room", old, failing/10)
	}
}

func (l *addresses) entries() int {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.silences)
}

// tidy checks that the slots know of the entries.
func (l *addresses) tidy(t *testing.T) {
	t.Helper()
	counted := map[*addressSlot]int32{}
	for a := range l.silences {
		counted[l.slot(a)]++
	}
	for i := range l.slots {
		if s := &l.slots[i]; s.entries.Load() != counted[s] {
			t.Errorf("slot %d counts %d entries, has %d", i, s.entries.Load(), counted[s])
		}
	}
}

func TestAddresses_ConcurrentUse(t *testing.T) {
	l := newAddresses()
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 3000 {
				a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(n % 7)}), 80)
				now := time.Now().Add(time.Duration(n) * time.Second)
				p, down := l.allow(a, now, n%2 == 0)
				switch {
				case down != nil:
					_ = down.Error()
				case (n+i)%29 == 0:
					l.answered(a)
				case p != nil && n%3 == 0:
					l.release(p)
				default:
					l.timedOut(a, fmt.Sprint(n%5), l.answers(a), now, io.EOF, p)
				}
				if n%500 == 0 {
					l.silent()
					l.forgetSince(now)
				}
			}
		})
	}
	wg.Wait()
	l.tidy(t)
	if got := l.entries(); got > 7 {
		t.Errorf("%d entries for 7 addresses", got)
	}
}

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

func TestAddresses_HostWithNoOtherIsDown(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.silence("192.0.2.1", "2001:db8::1")
		p.host("A.test", "192.0.2.1")
		p.host("both.test", "2001:db8::1", "192.0.2.1")
		now := time.Now()
		one := p.refused("A.test")
		if one.Host != "a.test:80" || one.Failures != 3 || !one.Since.Equal(now.Add(-10*time.Second)) || hostwise.KindOf(one.Last) != hostwise.ConnectTimeout || !errors.Is(one, gobreaker.ErrOpenState) {
			t.Errorf("error = %#v", one)
		}
		both := p.refused("both.test")
		if both.Failures != 6 || !both.Since.Equal(now) || !both.RetryAt.Equal(one.RetryAt) {
			t.Errorf("error = %#v, want the earliest RetryAt, %v, down since the second address is", both, one.RetryAt)
		}
		for range 10 {
			p.refused("192.0.2.1")
		}
		if _, err := p.tr.DialContext(context.Background(), "tcp", "both.test:80"); hostwise.KindOf(err) != hostwise.HostDown {
			t.Errorf("DialContext: %v, want host_down", err)
		}
		if got := p.tr.Stats(); got.HostsDown != 0 || got.Conns != 0 {
			t.Errorf("%d hosts down, %d connections, want none: the hosts are not charged", got.HostsDown, got.Conns)
		}
	})
}

// A host's own probe is given back: it was not used.
func TestAddresses_HostKeepsItsProbe(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.host("a.test", "192.0.2.1")
		for range tripAfterUnknown { // a host down by itself
			p.fails("a.test", hostwise.ConnectTimeout, 10*time.Second)
		}
		time.Sleep(20 * time.Second)
		p.silence("192.0.2.1") // by the third of these at the latest
		time.Sleep(5 * time.Second)
		p.refused("a.test")
		if h := p.tr.breaker.get("a.test:80"); h.probe != nil {
			t.Error("the host's probe is not given back")
		}
	})
}

// order is the addresses of the dials after the first so many.
func (p *parkedTest) order(before int) (list []string) {
	for _, d := range p.net.Dials()[before:] {
		list = append(list, d.Addr.Addr().String())
	}
	return list
}

func TestAddresses_SilentOnesComeLast(t *testing.T) {
	for _, tt := range []struct {
		name  string
		addrs []string
		live  string // "": none
		want  []string
	}{
		{"of one family", []string{"192.0.2.1", "192.0.2.7"}, "192.0.2.7", []string{"192.0.2.7"}},
		{"of the preferred family", []string{"2001:db8::1", "192.0.2.7"}, "192.0.2.7", []string{"192.0.2.7"}},
		{"the others in their order", []string{"2001:db8::1", "2001:db8::7", "2001:db8::8", "192.0.2.1", "192.0.2.7"}, "", []string{"2001:db8::7", "192.0.2.7", "2001:db8::8", "192.0.2.1", "2001:db8::1"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inParked(t, Options{}, func(p *parkedTest) {
				for _, a := range []string{"2001:db8::7", "2001:db8::8", "192.0.2.7"} {
					p.net.SetLink(netip.MustParseAddr(a), simnet.Link{Fault: simnet.Refuse})
				}
				p.silence("192.0.2.1", "2001:db8::1")
				before := len(p.net.Dials())
				p.host("a.test", tt.addrs...)
				if tt.live != "" {
					p.serve(tt.live + ":80")
					p.gets("a.test")
				} else if _, err := p.get(context.Background(), "http://a.test/"); err == nil {
					t.Error("a page of nobody")
				}
				if got := p.order(before); !slices.Equal(got, tt.want) {
					t.Errorf("dialled %v, want %v", got, tt.want)
				}
			})
		})
	}
}

// The address that is silent may be the only one that is left.
func TestAddresses_SilentOneIsStillTried(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.silence("192.0.2.1")
		p.serve("192.0.2.1:80") // it is back
		p.net.SetLink(netip.MustParseAddr("192.0.2.7"), simnet.Link{Fault: simnet.Refuse})
		p.host("a.test", "192.0.2.1", "192.0.2.7")
		p.gets("a.test")
		if got := p.tr.Stats().AddressesSilent; got != 0 {
			t.Errorf("%d silent addresses, want none: it has answered", got)
		}
		p.gets("parked1.test")
	})
}

// slowNames answer for one family only after a while.
type slowNames struct {
	names
	slow  string
	delay time.Duration
}

func (n *slowNames) LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error) {
	if network == n.slow {
		time.Sleep(n.delay)
	}
	return n.names.LookupNetIP(ctx, network, host)
}

// While the other family's answer is to come, a host is not given up.
func TestAddresses_WaitsForTheOtherFamily(t *testing.T) {
	for _, slow := range networks {
		t.Run(slow, func(t *testing.T) {
			r := &slowNames{names: names{}, slow: slow}
			inParked(t, Options{Resolver: r}, func(p *parkedTest) {
				p.known = r.names
				p.silence("192.0.2.1", "2001:db8::1")
				p.serve("192.0.2.7:80", "[2001:db8::7]:80")
				if slow == "ip4" {
					p.host("a.test", "2001:db8::1", "192.0.2.7")
				} else {
					p.host("a.test", "192.0.2.1", "2001:db8::7")
				}
				p.host("dead.test", "192.0.2.1", "2001:db8::1")
				r.delay = time.Second
				before := len(p.net.Dials())
				if took, err := p.get(context.Background(), "http://a.test/"); err != nil || took > 1100*time.Millisecond {
					t.Errorf("%v after %v, want the page after a second", err, took)
				}
				if got := p.order(before); len(got) != 1 {
					t.Errorf("dialled %v, want the live one only", got)
				}
				p.fails("dead.test", hostwise.HostDown, time.Second)
			})
		})
	}
}

// An answer that joins the race has its silent addresses behind the others.
func TestAddresses_SilentOnesOfALateAnswer(t *testing.T) {
	r := &slowNames{names: names{}, slow: "ip4"}
	inParked(t, Options{Resolver: r}, func(p *parkedTest) {
		p.known = r.names
		p.silence("192.0.2.1")
		p.serve("192.0.2.7:80")
		p.host("a.test", "2001:db8::1", "192.0.2.1", "192.0.2.7")
		r.delay = 100 * time.Millisecond
		before := len(p.net.Dials())
		if _, err := p.get(context.Background(), "http://a.test/"); err != nil {
			t.Error(err)
		}
		if got, want := p.order(before), []string{"2001:db8::1", "192.0.2.7"}; !slices.Equal(got, want) {
			t.Errorf("dialled %v, want %v", got, want)
		}
	})
}

func TestAddresses_UsedAgainWithinTheCoolDown(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		for i := range 50 {
			p.host(fmt.Sprintf("h%d.test", i), "192.0.2.1")
		}
		p.host("both.test", "192.0.2.1", "192.0.2.7")
		p.serve("192.0.2.7:80")
		p.silence("192.0.2.1")
		time.Sleep(time.Until(p.refused("h1.test").RetryAt))
		p.fails("h2.test", hostwise.ConnectTimeout, 10*time.Second) // the probe
		retryAt := p.refused("h3.test").RetryAt
		if got := time.Until(retryAt); got < 54*time.Second || got > 66*time.Second {
			t.Errorf("cool-down of %v after the probe, want 60s", got)
		}
		p.serve("192.0.2.1:80") // it is back
		p.refused("h4.test")
		p.gets("both.test")
		time.Sleep(time.Until(retryAt))
		for i := range 50 {
			p.gets(fmt.Sprintf("h%d.test", i))
		}
		if got := p.tr.Stats().AddressesSilent; got != 0 {
			t.Errorf("%d silent addresses, want none", got)
		}
	})
}

// A host with a live address probes, too, where the silent one stands first;
// not with each dial.
func TestAddresses_ProbeBesideALiveAddress(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.serve("192.0.2.7:80")
		p.host("a.test", "192.0.2.1")
		for i := range 4 {
			p.host(fmt.Sprintf("both%d.test", i), "192.0.2.1", "192.0.2.7")
		}
		p.silence("192.0.2.1")
		time.Sleep(time.Until(p.refused("a.test").RetryAt))
		before := len(p.net.Dials())
		for i := range 3 {
			if _, err := p.get(context.Background(), fmt.Sprintf("http://both%d.test/", i)); err != nil {
				t.Error(err)
			}
		}
		if got, want := p.order(before), []string{"192.0.2.1", "192.0.2.7", "192.0.2.7", "192.0.2.7"}; !slices.Equal(got, want) {
			t.Errorf("dialled %v, want %v", got, want)
		}
		p.serve("192.0.2.1:80") // it is back
		time.Sleep(probeExpiry)
		before = len(p.net.Dials())
		p.gets("both3.test")
		if got, want := p.order(before), []string{"192.0.2.1"}; !slices.Equal(got, want) {
			t.Errorf("dialled %v, want %v", got, want)
		}
		p.gets("a.test")
	})
}

// Each of these says nothing of the address.
func TestAddresses_NotCharged(t *testing.T) {
	fetch := func(p *parkedTest, i int, timeout time.Duration) {
		ctx, cancel := context.WithTimeout(context.Background(), timeout)
		defer cancel()
		if _, err := p.get(ctx, fmt.Sprintf("http://h%d.test/", i)); err == nil {
			p.Error("a page of nobody")
		}
	}
	for _, tt := range []struct {
		name  string
		link  simnet.Link
		visit func(p *parkedTest, i int)
	}{
		{"a refusal", simnet.Link{Fault: simnet.Refuse}, func(p *parkedTest, i int) { fetch(p, i, time.Minute) }},
		{"an unreachable host", simnet.Link{Fault: simnet.Unreachable}, func(p *parkedTest, i int) { fetch(p, i, time.Minute) }},
		{"no route", simnet.Link{Fault: simnet.NoRoute}, func(p *parkedTest, i int) { fetch(p, i, time.Minute) }},
		{"a short deadline", simnet.Link{Fault: simnet.BlackHole}, func(p *parkedTest, i int) { fetch(p, i, 2900*time.Millisecond) }},
		{"a cancellation", simnet.Link{Fault: simnet.BlackHole}, func(p *parkedTest, i int) {
			ctx, cancel := context.WithCancel(context.Background())
			time.AfterFunc(9*time.Second, cancel)
			p.tr.DialContext(ctx, "tcp", fmt.Sprintf("h%d.test:80", i))
		}},
		{"another address has won", simnet.Link{Fault: simnet.BlackHole}, func(p *parkedTest, i int) {
			p.host(fmt.Sprintf("h%d.test", i), "192.0.2.1", "198.51.100.1")
			if _, err := p.get(context.Background(), fmt.Sprintf("http://h%d.test/", i)); err != nil {
				p.Error(err)
			}
		}},
		{"TLS is silent", simnet.Link{Fault: simnet.DataHole}, func(p *parkedTest, i int) {
			if _, err := p.get(context.Background(), fmt.Sprintf("https://h%d.test/", i)); hostwise.KindOf(err) != hostwise.TLSTimeout {
				p.Errorf("%v, want tls_timeout", err)
			}
		}},
		{"one name in three is answered", simnet.Link{}, func(p *parkedTest, i int) {
			l := simnet.Link{Fault: simnet.BlackHole}
			if i%3 == 2 {
				l = simnet.Link{}
			}
			p.net.SetLink(addr4, l)
			p.get(context.Background(), fmt.Sprintf("http://h%d.test/", i))
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inParked(t, Options{}, func(p *parkedTest) {
				p.serve("198.51.100.1:80", "192.0.2.1:80", "192.0.2.1:443")
				p.net.SetLink(addr4, tt.link)
				for i := range 12 {
					p.host(fmt.Sprintf("h%d.test", i), "192.0.2.1")
					tt.visit(p, i)
					time.Sleep(10 * time.Second) // a dial goes on to its end
					if got := p.tr.Stats().AddressesSilent; got != 0 {
						p.Fatalf("%d silent addresses after %d names, want none", got, i+1)
					}
				}
			})
		})
	}
}

// A deadline that leaves a host its time charges the address as well.
func TestAddresses_ChargedAtAFairDeadline(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		for i := range silentAfter {
			p.host(fmt.Sprintf("h%d.test", i), "192.0.2.1")
			ctx, cancel := context.WithTimeout(context.Background(), 4*time.Second)
			p.tr.DialContext(ctx, "tcp", fmt.Sprintf("h%d.test:80", i))
			cancel()
		}
		p.refused("h0.test")
	})
}

// A refusal ends the silence: it costs nobody any time.
func TestAddresses_ProbeIsRefused(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.silence("192.0.2.1")
		p.net.SetLink(addr4, simnet.Link{Fault: simnet.Refuse})
		p.host("a.test", "192.0.2.1")
		time.Sleep(time.Until(p.refused("a.test").RetryAt))
		p.fails("a.test", hostwise.ConnectRefused, 0)
		if got := p.tr.Stats().AddressesSilent; got != 0 {
			t.Errorf("%d silent addresses, want none", got)
		}
	})
}

// A probe that was cut short says nothing: the next may go at once.
func TestAddresses_ProbeIsCutShort(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.silence("192.0.2.1")
		p.host("a.test", "192.0.2.1")
		time.Sleep(time.Until(p.refused("a.test").RetryAt))
		for _, short := range []time.Duration{time.Second, 2 * time.Second} {
			ctx, cancel := context.WithTimeout(context.Background(), short)
			start := time.Now()
			_, err := p.tr.DialContext(ctx, "tcp", "a.test:80")
			cancel()
			if got := time.Since(start); hostwise.KindOf(err) != hostwise.ConnectTimeout || got != short {
				t.Errorf("%v after %v, want connect_timeout after %v", err, got, short)
			}
		}
		p.serve("192.0.2.1:80")
		p.gets("a.test")
	})
}

// What is known of addresses is of this network.
func TestAddresses_ForgottenInAnotherNetwork(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.silence("192.0.2.1")
		p.refused("parked1.test")
		p.serve("192.0.2.1:80")
		p.tr.routes = &routes{}
		for i := range p.tr.routes.family {
			p.tr.routes.family[i].checked.Store(time.Now().Add(time.Hour).UnixNano())
		}
		p.tr.routes.changed.Store(true)
		p.gets("parked1.test")
	})
}

// An attempt that connects when another one has won clears its address.
func TestAddresses_ClearedByALoser(t *testing.T) {
	var stubborn atomic.Bool
	synctest.Test(t, func(t *testing.T) {
		n := simnet.New(1)
		base := &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			if stubborn.Load() {
				ctx = context.WithoutCancel(ctx)
			}
			return n.DialContext(ctx, network, address)
		}}
		tr, err := New(base, &Options{Resolver: names{"a.test": {addr6, addr4}}})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		for _, a := range []string{"192.0.2.1:80", "[2001:db8::1]:80"} {
			l, err := n.Listen(a)
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
		}
		n.SetLink(addr6, simnet.Link{RTT: time.Second})
		six := netip.AddrPortFrom(addr6, 80)
		for _, name := range []string{"b", "c"} {
			tr.addresses.timedOut(six, name, 0, time.Now(), errLost, nil)
		}
		stubborn.Store(true)
		c, err := tr.DialContext(context.Background(), "tcp", "a.test:80")
		if err != nil || c.RemoteAddr().String() != "192.0.2.1:80" {
			t.Fatalf("connected to %v, %v, want IPv4", c, err)
		}
		c.Close()
		if tr.addresses.entries() != 1 {
			t.Fatal("the address is forgotten too early")
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if got := tr.addresses.entries(); got != 0 {
			t.Errorf("%d entries, want none: the address has answered", got)
		}
	})
}

// A proxy's address serves all names.
func TestAddresses_NotOfProxies(t *testing.T) {
	inParked(t, Options{}, func(p *parkedTest) {
		p.silence("192.0.2.1")
		before := len(p.net.Dials())
		var wg sync.WaitGroup
		for i := range 3 {
			p.host(fmt.Sprintf("proxy%d.test", i), "192.0.2.1")
		}
		for i := range 3 {
			proxy := &url.URL{Scheme: "http", Host: fmt.Sprintf("proxy%d.test:80", i)}
			ctx := WithProxy(context.Background(), http.ProxyURL(proxy))
			wg.Go(func() {
				if took, err := p.get(ctx, fmt.Sprintf("http://h%d.test/", i)); hostwise.KindOf(err) != hostwise.ProxyTimeout || took != 10*time.Second {
					p.Errorf("%v after %v, want proxy_timeout after 10s", err, took)
				}
			})
		}
		wg.Wait()
		if got := len(p.net.Dials()) - before; got != 3 {
			t.Errorf("%d dials, want 3", got)
		}
		if e := p.refused("parked1.test"); e.Failures != 3 {
			t.Errorf("%d failures, want 3: the proxies' are not the address's", e.Failures)
		}
	})
}

func TestAddresses_DisableMemory(t *testing.T) {
	inParked(t, Options{DisableMemory: true}, func(p *parkedTest) {
		for i := range 2 * silentAfter {
			p.host(fmt.Sprintf("h%d.test", i), "192.0.2.1")
			p.fails(fmt.Sprintf("h%d.test", i), hostwise.ConnectTimeout, 10*time.Second)
		}
	})
}

// Those who wait for room for a connection when the address goes silent wait
// no longer, and their room is given back.
func TestAddresses_ThoseWhoWaitFailAtOnce(t *testing.T) {
	inParked(t, Options{MaxConns: 4}, func(p *parkedTest) {
		for i := range 100 {
			p.host(fmt.Sprintf("h%d.test", i), "192.0.2.1")
		}
		start := time.Now()
		var wg sync.WaitGroup
		var down atomic.Int64
		for i := range 100 {
			wg.Go(func() {
				if _, err := p.get(context.Background(), fmt.Sprintf("http://h%d.test/", i)); hostwise.KindOf(err) == hostwise.HostDown {
					down.Add(1)
				}
			})
		}
		wg.Wait()
		// The first two that end give their room to two more.
		if got := time.Since(start); got > 20*time.Second || down.Load() < 94 {
			t.Errorf("%d down after %v, want 94 or more within 20s", down.Load(), got)
		}
		if got := p.tr.Stats().Conns; got != 0 {
			t.Errorf("%d connections, want none", got)
		}
	})
}

// BenchmarkAddresses_Healthy is what the ledger costs a dial to an address
// that answers: asking twice, and taking note of the answer.
func BenchmarkAddresses_Healthy(b *testing.B) {
	for _, entries := range []int{0, 100, maxAddresses} {
		l := newAddresses()
		now := time.Now()
		for i := range entries {
			a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), 80)
			l.timedOut(a, "a", 0, now, errLost, nil)
		}
		a := netip.MustParseAddrPort("198.51.100.1:443")
		run := func(name string, f func()) {
			b.Run(fmt.Sprintf("%s/%d", name, entries), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					f()
				}
			})
			b.Run(fmt.Sprintf("%s/%d/parallel", name, entries), func(b *testing.B) {
				b.ReportAllocs()
				b.RunParallel(func(pb *testing.PB) {
					for pb.Next() {
						f()
					}
				})
			})
		}
		run("ask", func() {
			if _, down := l.allow(a, now, true); down != nil {
				b.Fatal(down)
			}
		})
		run("answered", func() { l.answered(a) })
	}
}
