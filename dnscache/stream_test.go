package dnscache_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// dnsCert is a certificate for dns.test and 192.0.2.53, and the pool that
// trusts it.
var dnsCert = sync.OnceValues(func() (tls.Certificate, *x509.CertPool) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1<<32, 0), // virtual time begins in 2000
		DNSNames: []string{"dns.test"}, IPAddresses: []net.IP{net.IPv4(192, 0, 2, 53)},
		IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		panic(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
})

// secureWorld is inWorld with one server that also speaks TLS on port 853
// and HTTPS on 443 at its address.
func secureWorld(t *testing.T, servers []string, f func(w *world)) {
	cert, pool := dnsCert()
	inWorld(t, 0, dnscache.Options{Servers: servers, TLSConfig: &tls.Config{RootCAs: pool}}, func(w *world) {
		s := w.serve("192.0.2.53")
		l, err := w.net.Listen("192.0.2.53:853")
		if err != nil {
			t.Fatal(err)
		}
		s.Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}))
		if l, err = w.net.Listen("192.0.2.53:443"); err != nil {
			t.Fatal(err)
		}
		web := &http.Server{Handler: s, ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}}
		var wg sync.WaitGroup
		wg.Go(func() { web.ServeTLS(l, "", "") })
		defer wg.Wait()
		defer web.Close()
		defer w.r.Close()
		f(w)
	})
}

// TCP's connect costs a round trip, TLS 1.3 another.
var secure = []struct {
	server  string
	connect time.Duration
}{
	{"tcp://192.0.2.53", rtt},
	{"tls://192.0.2.53", 2 * rtt},
	{"tls://192.0.2.53#dns.test", 2 * rtt},
	{"https://192.0.2.53/dns-query", 2 * rtt},
	{"https://dns.test/dns-query#192.0.2.53", 2 * rtt},
}

// RFC 7766, section 6.2.1: a connection is used again. RFC 7858, section 3.4,
// and RFC 8484, section 5.2, want the same.
func TestStream_IsUsedAgain(t *testing.T) {
	for _, tt := range secure {
		t.Run(tt.server, func(t *testing.T) {
			secureWorld(t, []string{tt.server}, func(w *world) {
				w.host("a.test", 300, "192.0.2.1", "2001:db8::1")
				w.host("b.test", 300, "192.0.2.2")
				w.gets("ip", "a.test", tt.connect+rtt, "2001:db8::1", "192.0.2.1")
				w.gets("ip4", "b.test", rtt, "192.0.2.2")
				w.fails("ip4", "none.test", hostwise.DNSNXDomain, rtt)
				if ports := w.ports(); len(ports) != 1 {
					t.Errorf("%d connections, want 1", len(ports))
				}
				if s := w.r.Stats(); s.Queries != 4 || s.TCP != 4 || s.Servers[0].Sent != 4 || s.Servers[0].Answered != 4 {
					t.Errorf("%d queries, %d over TCP, %d sent and %d answered, want 4 each", s.Queries, s.TCP, s.Servers[0].Sent, s.Servers[0].Answered)
				}
			})
		})
	}
}

// RFC 7766, section 6.2.1.1 (pipelining) and section 7 (replies in any order).
func TestStream_QueriesDoNotWaitForEachOther(t *testing.T) {
	for _, tt := range secure {
		t.Run(tt.server, func(t *testing.T) {
			secureWorld(t, []string{tt.server}, func(w *world) {
				w.all("slow.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.1"), TTL: 300, Delay: time.Second})
				w.host("fast.test", 300, "192.0.2.2")
				var wg sync.WaitGroup
				wg.Go(func() { w.gets("ip4", "slow.test", tt.connect+rtt+time.Second, "192.0.2.1") })
				time.Sleep(100 * time.Millisecond)
				w.gets("ip4", "fast.test", rtt, "192.0.2.2")
				wg.Wait()
				w.asked("slow.test", dns.TypeA, 1) // over a connection nothing is lost, so nothing is repeated
				if ports := w.ports(); len(ports) != 1 {
					t.Errorf("%d connections, want 1", len(ports))
				}
			})
		})
	}
}

func TestStream_AtMostFour(t *testing.T) {
	for _, server := range []string{"tcp://192.0.2.53", "tls://192.0.2.53"} {
		secureWorld(t, []string{server}, func(w *world) {
			hosts := names(5000)
			for _, h := range hosts {
				w.host(h, 300, "192.0.2.1")
			}
			var wg sync.WaitGroup
			for _, h := range hosts {
				wg.Go(func() {
					if _, err := w.r.LookupNetIP(context.Background(), "ip4", h); err != nil {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			if ports := w.ports(); len(ports) != 4 {
				t.Errorf("%s: %d connections for 5000 queries at once, want 4", server, len(ports))
			}
		})
	}
}

// RFC 7766, section 6.2.3: the client closes a connection it does not use.
func TestStream_IsClosedWhenIdle(t *testing.T) {
	for _, tt := range secure {
		t.Run(tt.server, func(t *testing.T) {
			secureWorld(t, []string{tt.server}, func(w *world) {
				w.host("a.test", 300, "192.0.2.1")
				w.gets("ip4", "a.test", tt.connect+rtt, "192.0.2.1")
				time.Sleep(9 * time.Second)
				if w.net.Stats().Open == 0 {
					t.Error("closed after 9 s, want 10 s")
				}
				time.Sleep(time.Second + rtt)
				synctest.Wait()
				if open := w.net.Stats().Open; open != 0 {
					t.Errorf("%d connections open after 10 s without a query", open)
				}
				w.host("b.test", 300, "192.0.2.2")
				connect := tt.connect // a resumed session takes as long in TLS 1.3
				w.gets("ip4", "b.test", connect+rtt, "192.0.2.2")
			})
		})
	}
}

// A server that closes after each reply, with other queries under way, has
// them asked again over the next connection: RFC 7766, section 6.2.4.
func TestStream_ServerClosesAfterEachReply(t *testing.T) {
	withServers(t, []string{"tcp://192.0.2.53"}, func(w *world) {
		w.net.SetLink(netip.MustParseAddr("192.0.2.53"), simnet.Link{RTT: rtt})
		l, err := w.net.Listen("192.0.2.53:53")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		var wg sync.WaitGroup
		defer wg.Wait()
		conns := 0
		wg.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				conns++
				conn := &dns.Conn{Conn: c}
				if m, err := conn.ReadMsg(); err == nil {
					reply := new(dns.Msg).SetReply(m)
					reply.RecursionAvailable = true
					if m.Question[0].Qtype == dns.TypeA {
						reply.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, 2, 1)}}
					}
					conn.WriteMsg(reply)
				}
				c.Close()
			}
		})
		w.gets("ip", "a.test", 4*rtt, "192.0.2.1") // two connections, one behind the other
		if conns != 2 {
			t.Errorf("%d connections, want 2", conns)
		}
		l.Close()
	})
}

// A connection that has gone silent is given up after one try's time.
func TestStream_SilentConnectionIsReplaced(t *testing.T) {
	for _, tt := range secure[:3] {
		secureWorld(t, []string{tt.server}, func(w *world) {
			w.host("a.test", 300, "192.0.2.1")
			w.host("b.test", 300, "192.0.2.2")
			w.gets("ip4", "a.test", tt.connect+rtt, "192.0.2.1")
			w.servers[0].SetSilent(true)
			time.AfterFunc(time.Second, func() { w.servers[0].SetSilent(false) }) // as a rebooted server: it knows nothing of the query
			w.gets("ip4", "b.test", 2*time.Second+tt.connect+rtt, "192.0.2.2")
			if ports := w.ports(); len(ports) != 2 {
				t.Errorf("%s: %d connections, want 2", tt.server, len(ports))
			}
		})
	}
}

// Also when no caller waits for that long.
func TestStream_SilentConnectionIsReplacedForImpatientCallers(t *testing.T) {
	for _, tt := range secure[:3] {
		secureWorld(t, []string{tt.server}, func(w *world) {
			for _, h := range names(4) {
				w.host(h, 300, "192.0.2.1")
			}
			w.gets("ip4", "h0.test", tt.connect+rtt, "192.0.2.1")
			w.servers[0].SetSilent(true)
			impatient := func(host string) error {
				ctx, cancel := context.WithTimeout(context.Background(), 1100*time.Millisecond)
				defer cancel()
				_, err := w.r.LookupNetIP(ctx, "ip4", host)
				return err
			}
			for _, h := range names(3)[1:] {
				if err := impatient(h); err == nil {
					t.Errorf("%s: a silent server has answered", tt.server)
				}
			}
			w.servers[0].SetSilent(false)
			if err := impatient("h3.test"); err != nil {
				t.Errorf("%s: %v, want a new connection after 2.2 s of silence", tt.server, err)
			}
			if ports := w.ports(); len(ports) != 2 {
				t.Errorf("%s: %d connections, want 2", tt.server, len(ports))
			}
		})
	}
}

// Nothing of a canceled lookup is left, in whatever phase it was.
func TestStream_CloseLeavesNothing(t *testing.T) {
	for _, tt := range secure {
		for _, after := range []time.Duration{0, rtt / 2, rtt + rtt/2, 2*rtt + rtt/2, time.Second} {
			secureWorld(t, []string{tt.server}, func(w *world) {
				w.servers[0].SetSilent(true)
				ctx, cancel := context.WithTimeout(context.Background(), after)
				defer cancel()
				start := time.Now()
				if _, err := w.r.LookupNetIP(ctx, "ip", "a.test"); hostwise.KindOf(err) != hostwise.DNSTimeout {
					t.Errorf("%s after %v: %v, want a time-out", tt.server, after, err)
				}
				if d := time.Since(start); d != after {
					t.Errorf("%s: the lookup ended after %v, want %v", tt.server, d, after)
				}
			}) // which waits for every goroutine
		}
	}
}

// A server that accepts connections and says nothing has timed out, whatever
// it was to speak, and whatever our own contexts are called.
func TestStream_SilenceIsATimeout(t *testing.T) {
	for _, tt := range secure {
		withServers(t, []string{tt.server}, func(w *world) {
			w.net.SetLink(netip.MustParseAddr("192.0.2.53"), simnet.Link{RTT: rtt})
			for _, port := range []string{"53", "853", "443"} {
				l, err := w.net.Listen("192.0.2.53:" + port)
				if err != nil {
					t.Fatal(err)
				}
				defer l.Close()
			}
			e := w.fails("ip4", "a.test", hostwise.DNSTimeout, 4*time.Second)
			if !e.Timeout() || errors.Is(e, context.DeadlineExceeded) || e.Server != "" || len(e.Asked) != 1 {
				t.Errorf("%s: %#v, want a time-out that is nobody's deadline, of the server that was asked", tt.server, e)
			}
		})
	}
}

// The same goes for a connect.
func TestStream_ConnectTimesOut(t *testing.T) {
	withServers(t, []string{"tcp://192.0.2.53"}, func(w *world) {
		w.net.SetLink(netip.MustParseAddr("192.0.2.53"), simnet.Link{RTT: rtt, Fault: simnet.BlackHole})
		if e := w.fails("ip4", "a.test", hostwise.DNSTimeout, 4*time.Second); errors.Is(e, context.DeadlineExceeded) {
			t.Errorf("%v is a context's error", e)
		}
	})
}

// RFC 8310, section 8.1: without the right certificate, no question.
func TestStream_CertificateIsChecked(t *testing.T) {
	for _, server := range []string{"tls://192.0.2.53#other.test", "https://other.test/dns-query#192.0.2.53"} {
		secureWorld(t, []string{server}, func(w *world) {
			_, err := w.r.LookupNetIP(context.Background(), "ip4", "a.test")
			var host x509.HostnameError
			if hostwise.KindOf(err) != hostwise.DNSServerUnreachable || !errors.As(err, &host) {
				t.Errorf("%s: %v, want %s for the certificate's name", server, err, hostwise.DNSServerUnreachable)
			}
			if got := len(w.servers[0].Queries()); got != 0 {
				t.Errorf("%s: %d queries, want none", server, got)
			}
		})
	}
	inWorld(t, 1, dnscache.Options{Servers: []string{"tls://192.0.2.53"}}, func(w *world) { // the system's roots
		cert, _ := dnsCert()
		l, err := w.net.Listen("192.0.2.53:853")
		if err != nil {
			t.Fatal(err)
		}
		w.servers[0].Serve(tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{cert}}))
		w.host("a.test", 300, "192.0.2.1")
		w.gets("ip4", "a.test", 3*rtt, "192.0.2.1") // the second server, in the clear, since the user has named it
		if s := w.r.Stats().Servers; !s[0].Down {
			t.Error("a server with a certificate nobody trusts is not down")
		}
	})
}

// An address where HTTPS is not spoken does not keep the next from being
// tried, nor does it take all of the time.
func TestHTTPS_NextAddress(t *testing.T) {
	for _, tt := range []struct {
		name    string
		serve   func(c net.Conn)
		elapsed time.Duration
	}{
		{"silent", func(c net.Conn) { io.Copy(io.Discard, c) }, time.Second + 3*rtt},
		{"closes", func(net.Conn) {}, 2*rtt + 3*rtt},
		{"talks nonsense", func(c net.Conn) { io.WriteString(c, "220 mail.test\r\n") }, 2*rtt + 3*rtt},
	} {
		t.Run(tt.name, func(t *testing.T) {
			secureWorld(t, []string{"https://dns.test/dns-query#192.0.2.54,192.0.2.53"}, func(w *world) {
				w.net.SetLink(netip.MustParseAddr("192.0.2.54"), simnet.Link{RTT: rtt})
				l, err := w.net.Listen("192.0.2.54:443")
				if err != nil {
					t.Fatal(err)
				}
				var wg sync.WaitGroup
				defer wg.Wait()
				defer l.Close()
				conns := 0
				wg.Go(func() {
					for {
						c, err := l.Accept()
						if err != nil {
							return
						}
						conns++
						wg.Go(func() { tt.serve(c); c.Close() })
					}
				})
				w.host("a.test", 300, "192.0.2.1")
				w.gets("ip4", "a.test", tt.elapsed, "192.0.2.1")
				time.Sleep(time.Minute) // the connection is closed
				w.host("b.test", 300, "192.0.2.2")
				w.gets("ip4", "b.test", 3*rtt, "192.0.2.2")
				if conns != 1 {
					t.Errorf("%d connections to the bad address, want 1", conns)
				}
			})
		})
	}
}

// RFC 8484: what is no DNS message is the server's failure, and an HTTP
// cache's Age is taken off the TTL (section 5.1).
func TestHTTPS_Replies(t *testing.T) {
	answer := func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var m dns.Msg
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/dns-message" || r.ProtoMajor != 2 || m.Unpack(b) != nil || m.Id != 0 {
			http.Error(w, "bad request", http.StatusBadRequest)
			return
		}
		reply := new(dns.Msg).SetReply(&m)
		reply.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 300}, A: net.IPv4(192, 0, 2, 1)}}
		b, _ = reply.Pack()
		w.Write(b)
	}
	for _, tt := range []struct {
		name    string
		handler http.HandlerFunc
		text    string // of the error; "" for none
		asks    bool   // again after 250 s
	}{
		{"in order", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/dns-message")
			answer(w, r)
		}, "", false},
		{"100 s old", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/dns-message")
			w.Header().Set("Age", "100")
			answer(w, r)
		}, "", true},
		{"with a parameter, in capitals", func(w http.ResponseWriter, r *http.Request) { // RFC 9110, section 8.3.1
			w.Header().Set("Content-Type", "Application/DNS-Message; charset=utf-8")
			answer(w, r)
		}, "", false},
		{"no content type", func(w http.ResponseWriter, r *http.Request) { answer(w, r) }, "content type", false},
		{"a page", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "<html>") }, "content type", false},
		{"a status", func(w http.ResponseWriter, r *http.Request) { http.Error(w, "", http.StatusTooManyRequests) }, "HTTP status 429", false},
		{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/", http.StatusFound) }, "HTTP status 302", false},
		{"no message", func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/dns-message")
			fmt.Fprint(w, "short")
		}, "not asked", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cert, pool := dnsCert()
			inWorld(t, 0, dnscache.Options{Servers: []string{"https://192.0.2.53/dns-query"}, TLSConfig: &tls.Config{RootCAs: pool}}, func(w *world) {
				l, err := w.net.Listen("192.0.2.53:443")
				if err != nil {
					t.Fatal(err)
				}
				requests := 0
				web := &http.Server{ErrorLog: log.New(io.Discard, "", 0), TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					requests++
					tt.handler(w, r)
				})}
				var wg sync.WaitGroup
				wg.Go(func() { web.ServeTLS(l, "", "") })
				defer wg.Wait()
				defer web.Close()
				defer w.r.Close()
				if tt.text != "" {
					e := w.fails("ip4", "a.test", hostwise.DNSServerUnreachable, 0)
					if !strings.Contains(e.Error(), tt.text) {
						t.Errorf("error %q does not say %q", e, tt.text)
					}
					return
				}
				w.gets("ip4", "a.test", 0, "192.0.2.1")
				time.Sleep(250 * time.Second)
				w.gets("ip4", "a.test", 0, "192.0.2.1")
				if asks := requests > 1; asks != tt.asks {
					t.Errorf("asked again: %v, want %v", asks, tt.asks)
				}
			})
		})
	}
}
