package hostwise_test

import (
	"context"
	"crypto/tls"
	"flag"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/loopnet"
	"github.com/hostwise-go/hostwise/transport"
)

var (
	soakDuration = flag.Duration("soak.duration", 5*time.Second, "how long TestSoak crawls")
	soakSeed     = flag.Uint64("soak.seed", 0, "what TestSoak's chaos goes by; 0: the time")
)

const (
	soakRate     = 150                    // requests a second; it is not about speed
	soakPatience = 3 * time.Second        // to connect, and for headers
	soakTimeout  = 20 * time.Second       // of a request, where the client does not lose patience
	soakCooldown = 500 * time.Millisecond // of the breaker
	soakLongest  = 2 * time.Second        // the same, after doubling
	soakExcused  = 0.10                   // of the pages asked for, at the most
)

// TestSoak crawls a small internet in which everything breaks and comes back,
// through http.Client and Colly, by clients who change their mind. No page of
// a healthy host may be lost but in flight at a fault of that host, or while
// its breaker, having seen the fault, cools down; heap, goroutines and
// descriptors must stay what they are; and Close must leave nothing.
//
//	go test -race -run TestSoak -soak.duration=1h -timeout 70m -v .
func TestSoak(t *testing.T) {
	if testing.Short() {
		t.Skip("takes as long as -soak.duration; run without -short")
	}
	seed := *soakSeed
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("-soak.seed=%d -soak.duration=%v", seed, *soakDuration)
	before := takeUsage()
	s := newSoak(t, seed)
	samples := s.run(*soakDuration)
	s.close()
	t.Log(s.faults.summary())
	t.Log(&s.tally)
	s.tally.check(t)
	checkFlat(t, samples)
	checkNothingLeft(t, before)
}

// A soak is the internet, the clients and what is known of both.
type soak struct {
	t         *testing.T
	seed      uint64
	net       *loopnet.Internet
	healthy   []loopnet.Host
	broken    []loopnet.Host
	conf      string // resolv.conf
	resolver  *dnscache.Resolver
	system    *transport.Transport // net.Dialer connects
	custom    *transport.Transport // a DialContext of the user's, so that loopback counts as network
	pace      chan struct{}
	hot       atomic.Pointer[loopnet.Host] // the last one killed
	faults    faultLog
	tally     tally
	wg        sync.WaitGroup
	transport []*transport.Transport
}

func newSoak(t *testing.T, seed uint64) *soak {
	hosts := map[loopnet.Fate]int{}
	for _, f := range loopnet.Fates() {
		hosts[f] = 1
		if f.OK() {
			hosts[f] = 4
		}
	}
	hosts[loopnet.Healthy], hosts[loopnet.HTTPS], hosts[loopnet.DualStack] = 16, 12, 12
	n, err := loopnet.Start(&loopnet.Options{
		Hosts: hosts, Seed: seed, Nameservers: 3,
		DNSLatency: 2 * time.Millisecond, ColdDNS: 10 * time.Millisecond, SlowDNS: 300 * time.Millisecond, SlowHeader: 300 * time.Millisecond,
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, missing := range n.Missing() {
		t.Log("not available here:", missing)
	}
	s := &soak{t: t, seed: seed, net: n, conf: filepath.Join(t.TempDir(), "resolv.conf"), pace: make(chan struct{})}
	s.tally.kinds, s.tally.late = map[string]int{}, map[string]time.Duration{}
	s.tally.underWay, s.tally.answers = map[breaker]int{}, map[breaker]time.Time{}
	for _, h := range n.Hosts() {
		if h.Fate.OK() {
			s.healthy = append(s.healthy, h)
		} else {
			s.broken = append(s.broken, h)
		}
	}
	s.writeConf(s.rand("conf"))
	s.resolver, err = dnscache.New(&dnscache.Options{
		ResolvConf: s.conf, HostsFile: os.DevNull, MinTTL: -1, MaxTTL: 2 * time.Second, Dial: s.dialDNS,
	})
	if err != nil {
		t.Fatal(err)
	}
	s.system = s.newTransport(nil, true) // to net.Dialer loopback is no network: see package transport
	s.custom = s.newTransport(func(ctx context.Context, network, address string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, address)
	}, false)
	s.transport = []*transport.Transport{s.system, s.custom}
	return s
}

func (s *soak) newTransport(dial func(context.Context, string, string) (net.Conn, error), noOutage bool) *transport.Transport {
	t, err := transport.New(&http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: s.net.RootCAs()}, ForceAttemptHTTP2: true, DialContext: dial,
	}, &transport.Options{
		Resolver: s.resolver, DialTimeout: soakPatience, ResponseHeaderTimeout: soakPatience, MaxConns: 64, DisableOutageDetection: noOutage,
		Breaker: transport.BreakerOptions{Cooldown: soakCooldown, MaxCooldown: soakLongest},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	return t
}

// rand returns a source of its own for each part, so that the order in which
// they run changes nothing.
func (s *soak) rand(part string) *rand.Rand {
	var h uint64 = 14695981039346656037 // FNV-1a
	for _, b := range []byte(part) {
		h = (h ^ uint64(b)) * 1099511628211
	}
	return rand.New(rand.NewPCG(s.seed, h))
}

// run crawls for so long and returns the samples taken meanwhile.
func (s *soak) run(d time.Duration) []usage {
	ctx, stop := context.WithCancel(context.Background())
	defer stop()
	s.wg.Go(func() { s.tick(ctx) })
	s.wg.Go(func() { s.requests(ctx) })
	for i := range 2 {
		s.wg.Go(func() { s.collectors(ctx, s.rand(fmt.Sprint("colly", i))) })
	}
	s.chaos(ctx)
	samples := s.sample(d)
	stop()
	s.wg.Wait()
	return samples
}

// tick sets the pace: as many requests as may begin.
func (s *soak) tick(ctx context.Context) {
	ticker := time.NewTicker(time.Second / soakRate)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
		select {
		case s.pace <- struct{}{}:
		case <-ctx.Done():
			return
		}
	}
}

// close closes all there is, while requests are under way.
func (s *soak) close() {
	var wg sync.WaitGroup
	r := s.rand("close")
	hosts := append(s.net.Hosts(loopnet.BlackHole, loopnet.DNSSilent), s.healthy[:8]...)
	for range 50 {
		h := hosts[r.IntN(len(hosts))]
		tr := s.transport[r.IntN(2)]
		wg.Go(func() { fetch(context.Background(), &http.Client{Transport: tr, Timeout: soakTimeout}, h.URL, nil) })
	}
	time.Sleep(20 * time.Millisecond)
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		for _, tr := range s.transport {
			tr.Close()
		}
		s.resolver.Close()
	}()
	select {
	case <-closed:
	case <-time.After(10 * time.Second):
		s.t.Error("Close has not returned after 10s")
	}
	wg.Wait()
	for _, tr := range s.transport {
		if n := tr.Stats().Conns; n != 0 {
			s.t.Errorf("%d connections left after Close", n)
		}
	}
	if err := s.net.Close(); err != nil {
		s.t.Error(err)
	}
}
