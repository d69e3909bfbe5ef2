package hostwise_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/transport"
)

// When this machine loses its default route, one failure tells. Where there
// never was one, the hosts that are reached all the same are not given up.
func TestOutage_DefaultRouteGone(t *testing.T) {
	inChild(t, &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}, func() {
		for _, line := range []string{
			"ip link set lo up", "ip link add v0 type veth peer name v1", "ip addr add 10.9.0.2/24 dev v0", "ip link set v0 up", "ip link set v1 up",
		} {
			configure(t, line)
		}
		ln, err := net.Listen("tcp4", "10.9.0.2:80")
		if err != nil {
			t.Fatal(err)
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})}
		go srv.Serve(ln)
		defer srv.Close()
		r, err := dnscache.New(&dnscache.Options{Servers: []string{"10.9.0.53"}, Hosts: map[string][]netip.Addr{
			"near.test": {netip.MustParseAddr("10.9.0.2")}, "far.test": {netip.MustParseAddr("203.0.113.1")},
		}})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		var changes []transport.OutageChange
		tr, err := transport.New(&http.Transport{DisableKeepAlives: true}, &transport.Options{
			Resolver: r, OnOutage: func(c transport.OutageChange) { changes = append(changes, c) },
		})
		if err != nil {
			t.Fatal(err)
		}
		defer tr.Close()
		dial := func(host string) hostwise.Kind {
			ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
			defer cancel()
			c, err := tr.DialContext(ctx, "tcp", host+":80")
			if err == nil {
				c.Close()
			}
			return hostwise.KindOf(err)
		}
		check := func(what string, got, want hostwise.Kind, outage bool) {
			t.Helper()
			if s := tr.Stats(); got != want || s.Outage != outage || s.HostsDown != 0 {
				t.Errorf("%s: kind %q, want %q; outage %v, want %v; %d hosts down", what, got, want, s.Outage, outage, s.HostsDown)
			}
		}

		check("a neighbour, without a default route", dial("near.test"), "", false)
		check("the rest of the world", dial("far.test"), hostwise.LocalOutage, false)

		configure(t, "ip route add default via 10.9.0.1")
		time.Sleep(1100 * time.Millisecond) // for the routes to be looked at again
		check("a neighbour, with one", dial("near.test"), "", false)
		configure(t, "ip route del default")
		check("the first failure", dial("far.test"), hostwise.LocalOutage, true)
		dial("near.test") // the canary; it has an address of this very machine
		check("a success", dial("near.test"), "", false)
		check("another failure", dial("far.test"), hostwise.LocalOutage, false)
		if len(changes) != 2 || !changes[0].Down || changes[1].Down {
			t.Errorf("%+v, want an outage and its end", changes)
		}
	})
}
