package clients

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hostwise-go/hostwise/bench/lab/crawl"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

// floor is no product: it knows the world. It pays each name's DNS time once
// (the faster of A and AAAA, the nearer name server, no loss), dials the
// nearest live address at once, learns that a host is dead by one try of one
// second, and tells every failure from every other. What it reaches is what
// physics and net/http leave.
type floor struct {
	w          *world.World
	dispatched func() int
	base       *http.Transport

	mu    sync.Mutex // protects hosts
	hosts map[string]*floorHost
}

type floorHost struct {
	*world.Host
	resolve sync.Once
	err     error // written by resolve
}

// floorError is a failure that the floor knew of.
type floorError struct{ kind crawl.Kind }

func (e *floorError) Error() string { return string(e.kind) }

func floorClient(c crawl.Config) (crawl.Client, error) {
	var s world.Scenario
	if err := json.Unmarshal([]byte(c.Plan.ScenarioDef), &s); err != nil {
		return nil, err
	}
	w, err := world.New(s, c.Plan.Seed)
	if err != nil {
		return nil, err
	}
	f := &floor{w: w, dispatched: c.Dispatched, base: c.BaseTransport(), hosts: map[string]*floorHost{}}
	f.base.DialContext = f.dial
	return crawl.HTTP(f, c, func(err error) crawl.Kind {
		if e, ok := errors.AsType[*floorError](err); ok {
			return e.kind
		}
		return crawl.ClassifyStd(err)
	}, nil), nil
}

func (f *floor) RoundTrip(req *http.Request) (*http.Response, error) {
	h := f.host(req.URL.Hostname())
	h.resolve.Do(func() { h.err = f.learn(h.Host) })
	if h.err != nil {
		return nil, h.err
	}
	return f.base.RoundTrip(req)
}

func (f *floor) CloseIdleConnections() { f.base.CloseIdleConnections() }

func (f *floor) host(name string) *floorHost {
	f.mu.Lock()
	defer f.mu.Unlock()
	h := f.hosts[name]
	if h == nil {
		label, _, _ := strings.Cut(name, ".")
		index, _ := strconv.Atoi(strings.TrimPrefix(label, "h"))
		h = &floorHost{Host: f.w.Hosts[index]}
		f.hosts[name] = h
	}
	return h
}

// learn takes as long as it must take to learn the fate of a host.
func (f *floor) learn(h *world.Host) error {
	dns := time.Duration(f.w.Scenario.ResolverRTT[0] * float64(time.Millisecond))
	if !h.Warm {
		cold := h.ColdA
		if len(h.V6) > 0 {
			cold = min(cold, h.ColdAAAA)
		}
		dns += cold
	}
	fail := func(k crawl.Kind, after time.Duration) error {
		time.Sleep(after)
		return &floorError{k}
	}
	switch h.Fate {
	case world.NXDomain:
		return fail(crawl.NXDomain, dns)
	case world.ServFail:
		return fail(crawl.ServFail, dns)
	case world.DNSTimeout:
		return fail(crawl.DNSTimeout, 2*time.Second)
	case world.Dead:
		return fail(crawl.ConnectTimeout, dns+time.Second)
	case world.Refused:
		return fail(crawl.Refused, dns+h.RTT4)
	case world.Mute:
		return fail(crawl.HTTPTimeout, dns+h.RTT4+3*time.Second)
	}
	time.Sleep(dns)
	return nil
}

func (f *floor) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	name, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	ip := f.nearest(f.host(name).Host)
	return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort(ip, port))
}

func (f *floor) nearest(h *world.Host) string {
	s := f.w.Scenario
	if h.Moved != nil && f.dispatched() >= int(s.MovedAt*float64(len(f.w.Work))) {
		return h.Moved.IP.String()
	}
	if len(h.V6) > 0 && h.V6[0].Treatment == world.Deliver && h.RTT6 < h.RTT4 && !s.V6NoRoute {
		return h.V6[0].IP.String()
	}
	for _, a := range h.V4 {
		if a.Treatment == world.Deliver {
			return a.IP.String()
		}
	}
	return h.V4[0].IP.String()
}
