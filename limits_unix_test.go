//go:build unix

package hostwise_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/transport"
	"github.com/miekg/dns"
)

const (
	manyHosts = 5000
	fewFiles  = 256
	// Web servers that share the hosts: a pair of addresses has a port for
	// each connection of the last minute.
	manyServers = 20

	limitsEnv = "HOSTWISE_TEST_LIMITS" // tells a copy of the test binary what to crawl, and how
)

// 5,000 hosts at once, with 256 file descriptors: every page comes, or, where
// nothing bounds the connections, the error says whose fault it is. Nobody is
// charged for it, and it does not take much longer than without a limit. The
// client has a process of its own; the servers are in this one.
func TestLimits_ManyHostsFewFiles(t *testing.T) {
	if os.Getenv(limitsEnv) != "" {
		crawlManyHosts(t)
		return
	}
	if testing.Short() {
		t.Skip("15,000 requests; run without -short")
	}
	world := serveManyHosts(t)
	limited := runLimited(t, world, fewFiles, "bounded")
	free := runLimited(t, world, 0, "bounded")
	greedy := runLimited(t, world, fewFiles, "unbounded")
	t.Logf("pages, errors %s, pages a second:", hostwise.LocalFDs)
	t.Logf("%d descriptors, default options:  %v", fewFiles, limited)
	t.Logf("no limit, default options:         %v", free)
	t.Logf("%d descriptors, no bounds at all: %v", fewFiles, greedy)
	for _, r := range []crawlResult{limited, free} {
		if r.pages != manyHosts {
			t.Errorf("%d pages with the default options, want %d", r.pages, manyHosts)
		}
	}
	if greedy.pages+greedy.failed != manyHosts || greedy.failed == 0 || greedy.pages == 0 {
		t.Errorf("without bounds: %d pages and %d errors %s, want %d together, and some of both", greedy.pages, greedy.failed, hostwise.LocalFDs, manyHosts)
	}
	if limited.rate() < free.rate()/3 {
		t.Errorf("%.0f pages a second with %d descriptors, %.0f without a limit: want a third at least", limited.rate(), fewFiles, free.rate())
	}
}

type crawlResult struct {
	pages, failed int
	took          time.Duration
}

func (r crawlResult) rate() float64 { return float64(r.pages) / r.took.Seconds() }

func (r crawlResult) String() string {
	return fmt.Sprintf("%5d %5d %6.0f", r.pages, r.failed, r.rate())
}

// serveManyHosts starts the web servers and a nameserver that knows all names,
// and returns their addresses.
func serveManyHosts(t *testing.T) (world string) {
	t.Helper()
	s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })}
	t.Cleanup(func() { s.Close() })
	var ports []string
	for range manyServers {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go s.Serve(l)
		ports = append(ports, portOf(l.Addr()))
	}
	pc, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ns := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		h := dns.RR_Header{Name: q.Question[0].Name, Rrtype: q.Question[0].Qtype, Class: dns.ClassINET, Ttl: 300}
		if h.Rrtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: h, A: net.IPv4(127, 0, 0, 1)}}
		} else {
			h.Rrtype = dns.TypeSOA
			m.Ns = []dns.RR{&dns.SOA{Hdr: h, Ns: "ns.test.", Mbox: "mail.test.", Minttl: 300}}
		}
		w.WriteMsg(m)
	})}
	go ns.ActivateAndServe()
	t.Cleanup(func() { ns.Shutdown() })
	return pc.LocalAddr().String() + " " + strings.Join(ports, " ")
}

// runLimited crawls in a copy of this process, with a limit of file
// descriptors; 0: none.
func runLimited(t *testing.T, world string, files int, bounds string) (r crawlResult) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Skip("the test binary cannot be found:", err)
	}
	cmd := exec.Command(exe, "-test.run=^"+t.Name()+"$", "-test.v", "-test.timeout=5m")
	cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d %s %s", limitsEnv, files, bounds, world))
	b, err := cmd.CombinedOutput()
	out := string(b)
	_, result, ok := strings.Cut(out, "result: ")
	switch {
	case strings.Contains(out, "--- SKIP: "):
		t.Skipf("in the child:\n%s", out)
	case err != nil || !ok || !strings.Contains(out, "--- PASS: "):
		t.Fatalf("%s, %d descriptors: %v\n%s", bounds, files, err, out)
	}
	if _, err := fmt.Sscan(result, &r.pages, &r.failed, (*int64)(&r.took)); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return r
}

// crawlManyHosts is the child.
func crawlManyHosts(t *testing.T) {
	var files uint64
	var bounds, nameserver string
	args := strings.Fields(os.Getenv(limitsEnv))
	ports := args[3:]
	if _, err := fmt.Sscan(strings.Join(args[:3], " "), &files, &bounds, &nameserver); err != nil {
		t.Fatal(err)
	}
	if files > 0 {
		var limit syscall.Rlimit
		fmt.Sscan(fmt.Sprint(files, " ", files), &limit.Cur, &limit.Max) // whose type is the system's own
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			t.Skip("the limit cannot be set here:", err)
		}
	}
	r, err := dnscache.New(&dnscache.Options{Servers: []string{nameserver}, HostsFile: os.DevNull, Timeout: 30 * time.Second}) // on a machine that may stand still
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	o := transport.Options{
		Resolver: r, DialTimeout: time.Minute, ResponseHeaderTimeout: time.Minute,
		Breaker: transport.BreakerOptions{Failures: 1}, // so that a single charge shows
	}
	if bounds == "unbounded" {
		o.MaxConns, o.MaxConnsPerHost, o.MaxFiles = -1, -1, -1
	}
	tr, err := transport.New(nil, &o)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	c := &http.Client{Transport: tr}
	var urls []string
	for i := range manyHosts {
		urls = append(urls, fmt.Sprintf("http://h%d.test:%s/", i, ports[i%len(ports)]))
	}

	start := time.Now()
	failed := fetchAll(t, c, urls, manyHosts)
	took := time.Since(start)
	fmt.Println("result:", manyHosts-len(failed), len(failed), int64(took))

	// Nobody is to blame: what has failed comes when there is room.
	c.CloseIdleConnections()
	var names []string
	for _, u := range failed {
		names = append(names, strings.TrimPrefix(u[:strings.LastIndexByte(u, ':')], "http://"))
	}
	for _, p := range r.Prefetch(t.Context(), names) { // at once: a failure would be remembered for a second
		if p.Err != nil {
			t.Error(p.Err)
		}
	}
	if again := fetchAll(t, c, failed, 50); len(again) > 0 {
		t.Errorf("%d of the %d that had failed fail again", len(again), len(failed))
	}
	if s := tr.Stats(); s.Trips != 0 || s.Refused != 0 || s.Outages != 0 {
		t.Errorf("%d hosts were declared down, %d requests refused, %d outages suspected, want none", s.Trips, s.Refused, s.Outages)
	}
	if r.Stats().Servers[0].Down {
		t.Error("the nameserver is taken to be down")
	}
}

// fetchAll gets pages, so many at once, and returns the URLs of those that
// failed for want of a file descriptor: no other failure will do.
func fetchAll(t *testing.T, c *http.Client, urls []string, atOnce int) (failed []string) {
	t.Helper()
	room := make(chan struct{}, atOnce)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, u := range urls {
		room <- struct{}{}
		wg.Go(func() {
			defer func() { <-room }()
			resp, err := c.Get(u)
			if err == nil {
				var b []byte
				b, err = io.ReadAll(resp.Body)
				resp.Body.Close()
				if err == nil && u != "http://"+string(b)+"/" {
					err = fmt.Errorf("the page is that of %s", b)
				}
			}
			if err == nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			if failed = append(failed, u); hostwise.KindOf(err) != hostwise.LocalFDs {
				t.Errorf("%s: %s: %v, want %s", u, hostwise.KindOf(err), err, hostwise.LocalFDs)
			}
		})
	}
	wg.Wait()
	slices.Sort(failed)
	return failed
}
