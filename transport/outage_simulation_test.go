package transport

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
)

// A crawl of hosts, some of them dead, with the network of the crawler gone for
// a minute in the middle of it, nameserver included.
const (
	crawlHosts = 2000
	crawlRate  = 400 // requests a second
	crawlBegin = 20 * time.Second
	crawlEnd   = 80 * time.Second
	crawlOver  = 100 * time.Second
)

// A outageResult is what a client made of it.
type outageResult struct {
	condemned   int                   // live hosts of which a request failed with host_down once the network was back
	lost        int                   // requests to live hosts that failed before the outage, or were begun a second after it
	refused     int                   // of all requests to live hosts outside of the outage, those with local_outage
	first       time.Duration         // after the network's return: the first success
	suspected   time.Duration         // after its beginning: the outage was noticed
	deadDials   int                   // to dead hosts
	kinds       map[hostwise.Kind]int // of the failures of dead hosts outside of the outage
	falseAlarms int
	stats       Stats
}

// A outagePlan says what the crawl is like.
type outagePlan struct {
	dead     int // per cent of the hosts
	outage   bool
	detector bool
	tail     bool // after crawlBegin nothing but dead hosts is left
}

// crawlThrough runs the plan. All chance but the breaker's jitter is drawn from a seed.
func crawlThrough(t *testing.T, p outagePlan) (r outageResult) {
	rng := rand.New(rand.NewPCG(8767, 9520))
	n := simnet.New(1)
	addrs, dead := make([]netip.Addr, crawlHosts), make([]bool, crawlHosts)
	for i := range addrs {
		addrs[i] = netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
		dead[i] = i*p.dead/100 != (i+1)*p.dead/100
		l := simnet.Link{RTT: time.Duration(20+rng.IntN(180)) * time.Millisecond}
		if dead[i] {
			l.Fault = [...]simnet.Fault{simnet.BlackHole, simnet.BlackHole, simnet.BlackHole, simnet.Refuse, simnet.Unreachable}[rng.IntN(5)]
		}
		n.SetLink(addrs[i], l)
	}
	type visit struct {
		at   time.Duration
		host int
	}
	visits := make([]visit, 0, int(crawlRate*crawlOver/time.Second))
	for range cap(visits) {
		v := visit{time.Duration(rng.Int64N(int64(crawlOver))), rng.IntN(crawlHosts)}
		if p.tail && v.at >= crawlBegin && !dead[v.host] {
			continue
		}
		visits = append(visits, v)
	}
	slices.SortFunc(visits, func(a, b visit) int { return cmp.Compare(a.at, b.at) })

	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		since := func() time.Duration { return time.Since(start) }
		ns := n.ServeDNS("198.51.100.53:53")
		n.SetLink(netip.MustParseAddr("198.51.100.53"), simnet.Link{RTT: 10 * time.Millisecond})
		var listeners []net.Listener
		for i, a := range addrs {
			ns.AddHost(fmt.Sprintf("h%d.test", i), 60, a)
			if dead[i] {
				continue
			}
			l, err := n.Listen(netip.AddrPortFrom(a, 80).String())
			if err != nil {
				t.Fatal(err)
			}
			listeners = append(listeners, l)
			go serveOK(l)
		}
		resolver, err := dnscache.New(&dnscache.Options{Servers: []string{"198.51.100.53"}, HostsFile: os.DevNull, DisableIPv6: true, Dial: n.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex // protects r
		r.first, r.suspected, r.kinds = -1, -1, map[hostwise.Kind]int{}
		condemned := map[int]bool{}
		tr, err := New(&http.Transport{DialContext: n.DialContext}, &Options{
			Resolver: resolver, DisableIPv6: true, MaxConns: -1, DisableOutageDetection: !p.detector,
			OnOutage: func(c OutageChange) {
				mu.Lock()
				defer mu.Unlock()
				if p.outage && c.Down && r.suspected < 0 && since() >= crawlBegin {
					r.suspected = since() - crawlBegin
				} else if c.Down {
					r.falseAlarms++
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Transport: tr, Timeout: 10 * time.Second}
		if p.outage {
			time.AfterFunc(crawlBegin, func() { n.SetFamily(false, &simnet.Link{Fault: simnet.BlackHole}) })
			time.AfterFunc(crawlEnd, func() { n.SetFamily(false, nil) })
		}
		var wg sync.WaitGroup
		for _, v := range visits {
			time.Sleep(time.Until(start.Add(v.at)))
			wg.Go(func() {
				err := get(client, "http://h"+strconv.Itoa(v.host)+".test/")
				mu.Lock()
				defer mu.Unlock()
				now, kind := since(), hostwise.KindOf(err)
				if err == nil {
					if now >= crawlEnd && r.first < 0 {
						r.first = now - crawlEnd
					}
					return
				}
				outside := !p.outage || now < crawlBegin || v.at >= crawlEnd+time.Second
				switch {
				case !outside:
				case dead[v.host]:
					r.kinds[kind]++
				default:
					r.lost++
				}
				if dead[v.host] {
					return
				}
				if outside && kind == hostwise.LocalOutage {
					r.refused++
				}
				if v.at >= crawlEnd && kind == hostwise.HostDown {
					condemned[v.host] = true
				}
			})
		}
		wg.Wait()
		r.stats = tr.Stats()
		tr.Close()
		resolver.Close()
		ns.Close()
		for _, l := range listeners {
			l.Close()
		}
		time.Sleep(time.Minute) // for what has been closed to be noticed
		r.condemned = len(condemned)
		for _, d := range n.Dials() {
			if a := d.Addr.Addr().As4(); a[0] == 192 {
				if dead[int(a[2])<<8|int(a[3])] {
					r.deadDials++
				}
			}
		}
	})
	return r
}

func get(client *http.Client, url string) error {
	resp, err := client.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// serveOK answers every request of a site.
func serveOK(l net.Listener) {
	for c, err := l.Accept(); err == nil; c, err = l.Accept() {
		go func() {
			defer c.Close()
			for r := bufio.NewReader(c); ; {
				for line := ""; line != "\r\n"; {
					var err error
					if line, err = r.ReadString('\n'); err != nil {
						return
					}
				}
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}()
	}
}

func (r outageResult) row(name string) string {
	first := "never"
	if r.first >= 0 {
		first = fmt.Sprintf("%.2f s", r.first.Seconds())
	}
	return fmt.Sprintf("| %s | %d | %d | %s | %d |", name, r.condemned, r.lost, first, r.deadDials)
}

// The table in README.md: run with -v.
func TestSimulation_OutageCondemnsNobody(t *testing.T) {
	skipSlow(t)
	shares := []int{5, 15, 50, 90}
	results := make([][3]outageResult, len(shares)) // no outage, without the detector, with it
	t.Run("crawls", func(t *testing.T) {
		for i, dead := range shares {
			for j, p := range []outagePlan{{detector: true}, {outage: true}, {outage: true, detector: true}} {
				p.dead = dead
				t.Run(fmt.Sprint(dead, j), func(t *testing.T) {
					t.Parallel()
					results[i][j] = crawlThrough(t, p)
				})
			}
		}
	})
	if t.Failed() {
		return
	}
	rows := []string{"| dead hosts | | live hosts condemned | live pages lost after it | first success | dials to dead hosts |", "|--:|---|--:|--:|--:|--:|"}
	for i, dead := range shares {
		calm, without, with := results[i][0], results[i][1], results[i][2]
		name := fmt.Sprintf("%d %%", dead)
		rows = append(rows, fmt.Sprintf("| %s | no outage | %d | %d | | %d |", name, calm.condemned, calm.lost, calm.deadDials),
			without.row(name+" | without the detector"), with.row(name+" | hostwise"))
		t.Logf("%s: suspected after %.1f s; %d canaries", name, with.suspected.Seconds(), with.stats.Canaries)
		if with.condemned != 0 || with.lost != 0 {
			t.Errorf("%s: %d live hosts were condemned, %d of their pages lost after the outage", name, with.condemned, with.lost)
		}
		if with.suspected < 0 || with.first < 0 || with.first > time.Second {
			t.Errorf("%s: suspected after %v; the first success came %v after the network", name, with.suspected, with.first)
		}
		if with.deadDials > 2*calm.deadDials {
			t.Errorf("%s: %d dials to dead hosts, want at most twice the %d without an outage", name, with.deadDials, calm.deadDials)
		}
		if with.falseAlarms+calm.falseAlarms != 0 || with.refused+calm.refused != 0 || calm.lost != 0 {
			t.Errorf("%s: %d and %d false alarms, %d and %d live pages refused, %d lost without an outage", name, with.falseAlarms, calm.falseAlarms, with.refused, calm.refused, calm.lost)
		}
		if without.condemned == 0 {
			t.Errorf("%s: without the detector no host was condemned, so this shows nothing", name)
		}
	}
	t.Logf("\n%s", strings.Join(rows, "\n"))
}

// When nothing is left of a crawl but dead hosts, that is no outage, and they
// fail with what is wrong with them.
func TestSimulation_TailOfDeadHosts(t *testing.T) {
	skipSlow(t)
	t.Parallel()
	r := crawlThrough(t, outagePlan{dead: 90, tail: true, detector: true})
	t.Log(r.kinds)
	if r.falseAlarms != 0 || r.stats.LocalRefused != 0 || r.kinds[hostwise.LocalOutage] != 0 {
		t.Errorf("%d outages, %d dials refused, %v", r.falseAlarms, r.stats.LocalRefused, r.kinds)
	}
	if r.stats.HostsDown != crawlHosts*90/100 {
		t.Errorf("%d hosts down, want all %d that are dead", r.stats.HostsDown, crawlHosts*90/100)
	}
}

func skipSlow(t *testing.T) {
	t.Helper()
	if testing.Short() || withRaceDetector() {
		t.Skip("tens of thousands of requests, which take too long with the race detector")
	}
}
