package dnscache_test

import (
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// withHandler is inWorld with one nameserver that answers over UDP what
// handle makes of each query, and over TCP with 192.0.2.99.
func withHandler(t *testing.T, o dnscache.Options, handle func(query *dns.Msg, reply func(*dns.Msg)), f func(w *world)) {
	o.Servers = []string{"192.0.2.53"}
	inWorld(t, 0, o, func(w *world) {
		w.net.SetLink(netip.MustParseAddr("192.0.2.53"), simnet.Link{RTT: rtt})
		udp, err := w.net.ListenPacket("192.0.2.53:53")
		if err != nil {
			t.Fatal(err)
		}
		tcp, err := w.net.Listen("192.0.2.53:53")
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		wg.Go(func() {
			buf := make([]byte, 4096)
			for {
				n, from, err := udp.ReadFrom(buf)
				if err != nil {
					return
				}
				var m dns.Msg
				if err := m.Unpack(buf[:n]); err != nil {
					t.Error(err)
				}
				handle(&m, func(reply *dns.Msg) {
					if b, err := reply.Pack(); err == nil {
						udp.WriteTo(b, from)
					}
				})
			}
		})
		wg.Go(func() {
			for {
				c, err := tcp.Accept()
				if err != nil {
					return
				}
				wg.Go(func() {
					defer c.Close()
					conn := &dns.Conn{Conn: c}
					for {
						m, err := conn.ReadMsg()
						if err != nil {
							return
						}
						conn.WriteMsg(withAddr(m, "192.0.2.99"))
					}
				})
			}
		})
		defer wg.Wait()
		defer w.r.Close()
		defer tcp.Close()
		defer udp.Close()
		f(w)
	})
}

func withAddr(query *dns.Msg, addr string) *dns.Msg {
	reply := new(dns.Msg).SetReply(query)
	reply.RecursionAvailable = true
	reply.Answer = []dns.RR{&dns.A{Hdr: header(query.Question[0].Name, dns.TypeA), A: net.ParseIP(addr)}}
	return reply
}

// cookieOf returns the cookie of a query in its two parts.
func cookieOf(m *dns.Msg) (client, server string) {
	if opt := m.IsEdns0(); opt != nil {
		for _, o := range opt.Option {
			if c, ok := o.(*dns.EDNS0_COOKIE); ok {
				return c.Cookie[:16], c.Cookie[16:]
			}
		}
	}
	return "", ""
}

func setCookie(m *dns.Msg, cookie string) *dns.Msg {
	m.SetEdns0(1232, false)
	m.IsEdns0().Option = []dns.EDNS0{&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: cookie}}
	return m
}

// RFC 7873, section 5.3.
func TestCookies(t *testing.T) {
	good := strings.Repeat("5c", 16) // the server's
	var queries, wrongServer int
	var clients []string
	forge := ""
	withHandler(t, dnscache.Options{Cookies: true}, func(m *dns.Msg, reply func(*dns.Msg)) {
		queries++
		client, server := cookieOf(m)
		clients = append(clients, client)
		if server != good {
			wrongServer++
		}
		if forge != "" { // before the true answer
			bad := withAddr(m, "192.0.2.66")
			switch forge {
			case "no cookie":
			case "another client's":
				setCookie(bad, strings.Repeat("ff", 8)+good)
			case "too short":
				setCookie(bad, client)
			case "too long":
				setCookie(bad, client+strings.Repeat("5c", 33))
			}
			reply(bad)
		}
		reply(setCookie(withAddr(m, "192.0.2.1"), client+good))
	}, func(w *world) {
		for i, how := range []string{"no cookie", "another client's", "too short", "too long"} {
			forge = ""
			w.gets("ip4", fmt.Sprintf("good%d.test", i), rtt, "192.0.2.1")
			forge = how
			elapsed := 2 * rtt // over TCP
			if i == 0 {
				elapsed += rtt // to connect
			}
			w.gets("ip4", fmt.Sprintf("h%d.test", i), elapsed, "192.0.2.99")
		}
		if queries != 8 || wrongServer != 3 {
			t.Errorf("%d queries, %d without the server's cookie, want 8, of which the first and those after none came", queries, wrongServer)
		}
		for _, c := range clients {
			if b, err := hex.DecodeString(c); err != nil || len(b) != 8 || c != clients[0] || c == strings.Repeat("00", 8) {
				t.Errorf("client cookies %q, want one of eight bytes", clients)
			}
		}
	})
}

// A server without cookies is none the worse, and BADCOOKIE (section 5.2.3)
// is answered with the new cookie; a server that is never content is asked
// over TCP.
func TestCookies_Servers(t *testing.T) {
	for _, tt := range []struct {
		name    string
		handle  func(n int, m *dns.Msg) *dns.Msg
		elapsed time.Duration
		addr    string
	}{
		{"none", func(_ int, m *dns.Msg) *dns.Msg { return withAddr(m, "192.0.2.1") }, rtt, "192.0.2.1"},
		{"BADCOOKIE once", func(_ int, m *dns.Msg) *dns.Msg {
			client, server := cookieOf(m)
			if server == "" {
				reply := setCookie(new(dns.Msg).SetReply(m), client+strings.Repeat("5c", 8))
				reply.Rcode = dns.RcodeBadCookie
				return reply
			}
			return setCookie(withAddr(m, "192.0.2.1"), client+server)
		}, 2 * rtt, "192.0.2.1"},
		{"BADCOOKIE always", func(n int, m *dns.Msg) *dns.Msg {
			client, _ := cookieOf(m)
			reply := setCookie(new(dns.Msg).SetReply(m), client+strings.Repeat(fmt.Sprintf("%02x", n), 8))
			reply.Rcode = dns.RcodeBadCookie
			return reply
		}, 4 * rtt, "192.0.2.99"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n := 0
			withHandler(t, dnscache.Options{Cookies: true}, func(m *dns.Msg, reply func(*dns.Msg)) {
				n++
				reply(tt.handle(n, m))
			}, func(w *world) {
				w.gets("ip4", "a.test", tt.elapsed, tt.addr)
			})
		})
	}
}

// A server that returns the client's cookie only, or gives no cookies any more
// (it was restarted, say, or is one of several), costs a question over TCP at
// most.
func TestCookies_ServerStops(t *testing.T) {
	given := strings.Repeat("5c", 16)
	for _, tt := range []struct {
		name    string
		stops   int // after so many replies
		then    func(m *dns.Msg, client, server string) *dns.Msg
		elapsed []time.Duration
		last    string // cookie sent, but for the client's
	}{
		{"echoes", 0, func(m *dns.Msg, client, server string) *dns.Msg {
			return setCookie(withAddr(m, "192.0.2.1"), client+server)
		}, []time.Duration{rtt, rtt, rtt}, ""},
		{"none", 2, func(m *dns.Msg, _, _ string) *dns.Msg {
			return withAddr(m, "192.0.2.1")
		}, []time.Duration{rtt, rtt, 3 * rtt, rtt, rtt}, ""},
		{"no EDNS either", 2, func(m *dns.Msg, _, _ string) *dns.Msg {
			if m.IsEdns0() != nil {
				return new(dns.Msg).SetRcode(m, dns.RcodeFormatError)
			}
			return withAddr(m, "192.0.2.1")
		}, []time.Duration{rtt, rtt, 3 * rtt, 2 * rtt, rtt}, ""},
		{"for a while", 2, func(m *dns.Msg, client, server string) *dns.Msg {
			if server == given {
				return withAddr(m, "192.0.2.1")
			}
			return setCookie(withAddr(m, "192.0.2.1"), client+strings.Repeat("c5", 16))
		}, []time.Duration{rtt, rtt, 3 * rtt, rtt, rtt}, strings.Repeat("c5", 16)},
	} {
		t.Run(tt.name, func(t *testing.T) {
			n, last := 0, ""
			withHandler(t, dnscache.Options{Cookies: true}, func(m *dns.Msg, reply func(*dns.Msg)) {
				n++
				client, server := cookieOf(m)
				last = server
				if n > tt.stops {
					reply(tt.then(m, client, server))
				} else {
					reply(setCookie(withAddr(m, "192.0.2.1"), client+given))
				}
			}, func(w *world) {
				for i, elapsed := range tt.elapsed {
					addr := "192.0.2.1"
					if elapsed == 3*rtt { // TCP's connect and answer
						addr = "192.0.2.99"
					}
					w.gets("ip4", fmt.Sprintf("h%d.test", i), elapsed, addr)
				}
				if last != tt.last {
					t.Errorf("sent the server's cookie %q in the end, want %q", last, tt.last)
				}
			})
		})
	}
}

// draft-vixie-dnsext-dns0x20: a reply whose case is wrong moves the question
// to TCP.
func TestRandomizeCase(t *testing.T) {
	const name = "www.a-rather-long-name-with-letters.test"
	seen := map[string]bool{}
	keep := true
	withHandler(t, dnscache.Options{RandomizeCase: true, MaxTTL: time.Second}, func(m *dns.Msg, reply func(*dns.Msg)) {
		asked := m.Question[0].Name
		seen[asked] = true
		if !strings.EqualFold(asked, name+".") {
			t.Errorf("asked for %q", asked)
		}
		a := withAddr(m, "192.0.2.1")
		if !keep {
			a.Question[0].Name = strings.ToLower(asked)
		}
		reply(a)
	}, func(w *world) {
		for range 20 {
			w.gets("ip4", name, rtt, "192.0.2.1")
			time.Sleep(time.Second)
		}
		if len(seen) != 20 {
			t.Errorf("%d different spellings in 20 queries", len(seen))
		}
		keep = false
		w.gets("ip4", name, 3*rtt, "192.0.2.99")
	})
}
