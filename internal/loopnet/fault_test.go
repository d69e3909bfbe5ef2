package loopnet

import (
	"context"
	"errors"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// A fault shows at once, also to those who have a connection, and when it has
// ended all is as before.
func TestKill(t *testing.T) {
	n := start(t, &Options{Hosts: map[Fate]int{Healthy: 1, HTTPS: 1}, ColdDNS: -1, DNSLatency: -1})
	for _, h := range n.Hosts() {
		for f, shows := range map[Fault]func(error) bool{
			Down:   func(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) },
			Hole:   func(err error) bool { return isTimeout(err) || errors.Is(err, syscall.ECONNREFUSED) }, // the latter on Windows
			Resets: func(err error) bool { return err != nil && !isTimeout(err) },
			Silent: isTimeout,
		} {
			t.Run(string(h.Fate)+" "+string(f), func(t *testing.T) {
				kept := client(t, n)
				must := func(err error) {
					t.Helper()
					if err != nil {
						t.Error(err)
					}
				}
				try := func(c *http.Client) error {
					ctx, cancel := context.WithTimeout(t.Context(), patience)
					defer cancel()
					_, _, err := get(ctx, c, h.URL)
					return err
				}
				must(try(kept))
				must(n.Kill(h.Name, f))
				if err := try(client(t, n)); !shows(err) {
					t.Errorf("a new client: %v", err)
				}
				if err := try(kept); err == nil {
					t.Error("a client with a connection still gets pages")
				}
				must(n.Revive(h.Name))
				must(try(kept))
				must(try(client(t, n)))
				must(n.Revive(h.Name)) // there is nothing to be done
			})
		}
	}
}

func TestKillIPv6_LeavesIPv4(t *testing.T) {
	n := start(t, &Options{Hosts: map[Fate]int{DualStack: 2}, ColdDNS: -1, DNSLatency: -1})
	reached := func(ipv6 bool) bool {
		all := true
		for _, s := range n.sites {
			for _, d := range s.doors {
				if d.isIPv6() == ipv6 {
					c, err := net.DialTimeout("tcp", d.addr.String(), holeWait)
					if err == nil {
						c.Close()
					}
					all = all && err == nil
				}
			}
		}
		return all
	}
	if len(n.Hosts()) == 0 {
		t.Skip("no IPv6 here")
	}
	for _, f := range []Fault{Down, Hole} {
		if err := n.KillIPv6(f); err != nil {
			t.Fatal(err)
		}
		if v6, v4 := reached(true), reached(false); v6 || !v4 {
			t.Errorf("%s: IPv6 connects: %v, IPv4: %v, want false and true", f, v6, v4)
		}
		if err := n.ReviveIPv6(); err != nil {
			t.Fatal(err)
		}
		if !reached(true) {
			t.Errorf("after %s: IPv6 does not connect", f)
		}
	}
}

func TestKillDNS(t *testing.T) {
	n := start(t, &Options{Hosts: map[Fate]int{Healthy: 1}, Nameservers: 2, ColdDNS: -1, DNSLatency: -1})
	q := new(dns.Msg).SetQuestion(n.Hosts()[0].Name+".", dns.TypeA)
	for _, f := range []Fault{Down, Silent} {
		for _, network := range []string{"udp", "tcp"} {
			c := dns.Client{Net: network, Timeout: 200 * time.Millisecond}
			ask := func(i int) error {
				_, _, err := c.Exchange(q, n.DNSAddrs()[i])
				return err
			}
			if err := n.KillDNS(0, f); err != nil {
				t.Fatal(err)
			}
			if err := ask(0); err == nil || (f == Silent) != isTimeout(err) {
				t.Errorf("%s, %s: %v", network, f, err)
			}
			if err := ask(1); err != nil {
				t.Errorf("%s, %s: the other nameserver: %v", network, f, err)
			}
			if err := n.ReviveDNS(0); err != nil {
				t.Fatal(err)
			}
			if err := ask(0); err != nil {
				t.Errorf("%s, after %s: %v", network, f, err)
			}
		}
	}
	if err := n.KillDNS(0, Hole); err == nil {
		t.Error("a nameserver has a fault that is for hosts")
	}
}
