package transport

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
)

// Three names lead to one address, which times out for all of them in an
// outage, or for want of it: whether it is silent then depends on when they were
// dialled.
func TestOutage_CondemnsNoAddress(t *testing.T) {
	const shared = 39 // the host whose address it is
	for _, tt := range []struct {
		name   string
		after  time.Duration // the dials by which the outage is noticed, 10 s later; the names are dialled
		heals  time.Duration // after the names are dialled; the address does not come back
		silent int
	}{
		{"timed out before it was noticed", -time.Second, 0, 0},
		{"while it lasts", time.Second, 0, 0},
		{"after its end, begun before", time.Second, 9500 * time.Millisecond, 0},
		{"begun after its end", 12 * time.Second, -time.Second, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := names{}
			inOutageTest(t, 40, Options{Resolver: r}, func(l *outageTest) {
				for i := range 40 {
					r[l.name(i)] = []netip.Addr{l.addr(i)}
				}
				for i := range silentAfter {
					r[fmt.Sprintf("alias%d.test", i)] = r[l.name(shared)]
				}
				l.reach(0, 40)
				time.Sleep(time.Second)
				l.cut()
				l.link(shared, simnet.BlackHole)
				start := time.Now().Add(time.Second)
				at := func(after time.Duration, f func()) { time.Sleep(time.Until(start.Add(after))); f() }
				var dials sync.WaitGroup
				dials.Go(func() { at(0, func() { l.dials(0, 32) }) })
				for i := range silentAfter {
					dials.Go(func() {
						at(tt.after, func() {
							c, err := l.tr.DialContext(context.Background(), "tcp", fmt.Sprintf("alias%d.test:80", i))
							if err == nil {
								c.Close()
							}
							if got := hostwise.KindOf(err); got != hostwise.ConnectTimeout {
								t.Errorf("%v, kind %q, want %q", err, got, hostwise.ConnectTimeout)
							}
						})
					})
				}
				if tt.heals != 0 {
					dials.Go(func() { at(tt.after+tt.heals, func() { l.heal(); l.dial(1) }) })
				}
				dials.Wait()
				if got := l.tr.Stats(); got.Outages != 1 || got.Outage != (tt.heals == 0) {
					t.Errorf("%d outages, now: %v", got.Outages, got.Outage)
				}
				if got := l.tr.addresses.silent(); got != tt.silent {
					t.Errorf("%d silent addresses, want %d", got, tt.silent)
				}
			})
		})
	}
}

// A canary whose time is up is told that it is the network.
func TestOutage_CanaryIsToldOfIt(t *testing.T) {
	inOutageTest(t, 40, Options{}, func(l *outageTest) {
		since := l.begin()
		time.Sleep(time.Second)
		start := time.Now()
		err := l.dial(35)
		e, ok := err.(*hostwise.ConnectError)
		if !ok || e.Kind != hostwise.LocalOutage || !e.Since.Equal(since) || len(e.Attempts) != 1 || !e.RetryAt.After(time.Now()) {
			t.Errorf("%#v, want kind %q since %v, with the attempt", err, hostwise.LocalOutage, since)
		}
		if took := time.Since(start); took != canaryTimeout {
			t.Errorf("took %v, want %v", took, canaryTimeout)
		}
		client := http.Client{Transport: l.tr, Timeout: time.Second}
		if err := get(&client, "http://"+l.name(36)); hostwise.KindOf(err) != hostwise.LocalOutage {
			t.Errorf("%v, kind %q, want %q", err, hostwise.KindOf(err), hostwise.LocalOutage)
		}
	})
}
