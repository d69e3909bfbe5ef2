package hostwise_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"time"

	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/loopnet"
	"github.com/hostwise-go/hostwise/transport"
)

// chaos breaks things and mends them until ctx ends; then all is mended.
func (s *soak) chaos(ctx context.Context) {
	var own, both []loopnet.Host
	for _, h := range s.healthy {
		if h.Fate == loopnet.DualStack {
			both = append(both, h)
		} else {
			own = append(own, h)
		}
	}
	half := len(own) / 2
	for part, f := range map[string]func(context.Context, *rand.Rand){
		"hosts1": func(ctx context.Context, r *rand.Rand) { s.killHost(ctx, r, own[:half]) },
		"hosts2": func(ctx context.Context, r *rand.Rand) { s.killHost(ctx, r, own[half:]) },
		"IPv6":   func(ctx context.Context, r *rand.Rand) { s.withdrawIPv6(ctx, r, both) },
		"DNS":    s.killNameservers,
		"conf":   func(ctx context.Context, r *rand.Rand) { s.writeConf(r); pause(ctx, r, time.Second, 4*time.Second) },
		"calls":  s.callAnything,
	} {
		s.wg.Go(func() {
			r := s.rand(part)
			for pause(ctx, r, 0, time.Second) {
				f(ctx, r)
			}
		})
	}
}

// pause waits for a time between two, and reports false when ctx has ended.
func pause(ctx context.Context, r *rand.Rand, least, most time.Duration) bool {
	select {
	case <-time.After(least + time.Duration(r.Int64N(int64(most-least)))):
		return true
	case <-ctx.Done():
		return false
	}
}

// warm reports whether the names are known: before, an outage of the
// nameservers leaves nothing to crawl.
func (s *soak) warm() bool { return s.resolver.Stats().Entries >= len(s.healthy) }

func (s *soak) must(err error) {
	if err != nil {
		s.t.Error(err)
	}
}

// killHost kills a host for a while.
func (s *soak) killHost(ctx context.Context, r *rand.Rand, hosts []loopnet.Host) {
	h := hosts[r.IntN(len(hosts))]
	how := []loopnet.Fault{loopnet.Down, loopnet.Hole, loopnet.Resets, loopnet.Silent}[r.IntN(4)]
	mended := s.faults.begin(h.Name, string(how))
	s.hot.Store(&h)
	s.must(s.net.Kill(h.Name, how))
	pause(ctx, r, 100*time.Millisecond, 3*time.Second)
	s.must(s.net.Revive(h.Name))
	mended()
}

// withdrawIPv6 takes the IPv6 of all hosts away for a while. Their IPv4 goes
// on, so only what is in flight may fail.
func (s *soak) withdrawIPv6(ctx context.Context, r *rand.Rand, hosts []loopnet.Host) {
	if len(hosts) == 0 {
		return
	}
	how := []loopnet.Fault{loopnet.Down, loopnet.Hole}[r.IntN(2)]
	mended := s.faults.begin(faultIPv6, "IPv6 "+string(how))
	s.must(s.net.KillIPv6(how))
	mended()
	pause(ctx, r, 200*time.Millisecond, 4*time.Second)
	mended = s.faults.begin(faultIPv6, "IPv6 back")
	s.must(s.net.ReviveIPv6())
	mended()
}

// killNameservers takes one or two of three nameservers away for a while,
// which nobody may notice, or all of them.
func (s *soak) killNameservers(ctx context.Context, r *rand.Rand) {
	all := len(s.net.DNSAddrs())
	victims := r.Perm(all)[:1+r.IntN(all-1)]
	mended := func() {}
	if r.IntN(5) == 0 && s.warm() {
		victims = r.Perm(all)
		mended = s.faults.begin(faultDNS, "no nameserver")
	}
	var ends []func()
	for _, i := range victims {
		how := []loopnet.Fault{loopnet.Down, loopnet.Silent}[r.IntN(2)]
		ends = append(ends, s.faults.begin(faultNS, fmt.Sprint(dnsName(i), " ", how)))
		s.must(s.net.KillDNS(i, how))
	}
	pause(ctx, r, 200*time.Millisecond, 3*time.Second)
	for k, i := range victims {
		s.must(s.net.ReviveDNS(i))
		ends[k]()
	}
	mended()
	// A lookup may have failed at these, each with an error of its own, and
	// now have its last chance with the others: it is to have it.
	pause(ctx, r, time.Second, 2*time.Second)
}

// dnsName is how resolv.conf calls a nameserver: it has no room for a port.
func dnsName(i int) string { return fmt.Sprint("192.0.2.", i+1) }

func (s *soak) dialDNS(ctx context.Context, network, address string) (net.Conn, error) {
	for i, real := range s.net.DNSAddrs() {
		if address == net.JoinHostPort(dnsName(i), "53") {
			var d net.Dialer
			return d.DialContext(ctx, network, real)
		}
	}
	return nil, errors.New("no nameserver is at " + address)
}

// writeConf rewrites resolv.conf: in its place, and all at once, as programs
// that know what they do.
func (s *soak) writeConf(r *rand.Rand) {
	var b bytes.Buffer
	for _, i := range r.Perm(len(s.net.DNSAddrs())) {
		fmt.Fprintln(&b, "nameserver", dnsName(i))
	}
	// With one attempt each nameserver has one chance, and all three may be
	// dead just when theirs comes.
	fmt.Fprintf(&b, "options timeout:%d attempts:%d\n", 2+r.IntN(2), 2+r.IntN(2))
	switch r.IntN(4) {
	case 0:
		fmt.Fprintln(&b, "options rotate")
	case 1:
		fmt.Fprintln(&b, "options use-vc")
	}
	s.must(os.WriteFile(s.conf+".new", b.Bytes(), 0o644))
	s.must(os.Rename(s.conf+".new", s.conf))
}

// callAnything calls what may be called at any time.
func (s *soak) callAnything(ctx context.Context, r *rand.Rand) {
	tr, h := s.transport[r.IntN(2)], s.healthy[r.IntN(len(s.healthy))]
	switch r.IntN(8) {
	case 0:
		tr.CloseIdleConnections()
	case 1:
		s.resolver.Forget(h.Name)
	case 2:
		for range 12 {
			s.resolver.Forget(s.healthy[r.IntN(len(s.healthy))].Name)
		}
	case 3:
		var names []string
		for _, h := range s.net.Hosts() {
			names = append(names, h.Name)
		}
		ctx, cancel := context.WithTimeout(ctx, time.Duration(r.Int64N(int64(time.Second))))
		s.resolver.Prefetch(ctx, names)
		cancel()
	case 4:
		s.snapshot()
	case 5:
		s.snapshotBreakers(tr)
	case 6:
		tr.Stats()
		s.resolver.Stats()
		tr.HostDown(h.Name + ":80")
	case 7:
		ctx, cancel := context.WithTimeout(ctx, time.Duration(r.Int64N(int64(100*time.Millisecond))))
		tr.Lookup(ctx, h.Name)
		cancel()
	}
}

// snapshot carries the cache to another resolver.
func (s *soak) snapshot() {
	var b bytes.Buffer
	s.must(s.resolver.Snapshot(&b))
	next, err := dnscache.New(&dnscache.Options{ResolvConf: s.conf, HostsFile: os.DevNull, Dial: s.dialDNS})
	if err != nil {
		s.t.Error(err)
		return
	}
	s.must(next.Restore(&b))
	s.must(next.Close())
}

// snapshotBreakers carries what is down to another transport.
func (s *soak) snapshotBreakers(tr *transport.Transport) {
	var b bytes.Buffer
	s.must(tr.SnapshotBreakers(&b))
	next := s.newTransport(nil, true)
	s.must(next.RestoreBreakers(&b))
	s.must(next.Close())
}
