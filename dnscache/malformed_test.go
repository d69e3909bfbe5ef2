package dnscache_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// framed puts the length before a message.
func framed(m []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(m))), m...)
}

// answerTo is a reply with n addresses.
func answerTo(query []byte, n int) []byte {
	var m dns.Msg
	if err := m.Unpack(query); err != nil {
		return nil
	}
	r := new(dns.Msg).SetReply(&m)
	r.Compress = true
	for i := range n {
		r.Answer = append(r.Answer, &dns.A{Hdr: dns.RR_Header{Name: m.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET, Ttl: 60}, A: net.IPv4(192, 0, byte(2+i>>8), byte(i))})
	}
	b, _ := r.Pack()
	return b
}

// loop is an answer whose owner's name points to itself: RFC 1035, section
// 4.1.4.
func loop(query []byte) []byte {
	b := answerTo(query, 1)
	at := len(b) - 16
	binary.BigEndian.PutUint16(b[at:], 0xc000|uint16(at))
	return b
}

// lies is an answer with another number of records than it says.
func lies(query []byte, n uint16) []byte {
	b := answerTo(query, 1)
	binary.BigEndian.PutUint16(b[6:], n)
	return b
}

var malformedReplies = []struct {
	name  string
	alone hostwise.Kind // without another nameserver; "": an answer
	say   func(c io.Writer, query []byte, stop <-chan struct{})
}{
	{"a compression loop", hostwise.DNSMalformed, func(c io.Writer, q []byte, stop <-chan struct{}) { c.Write(framed(loop(q))); <-stop }},
	{"65,535 records announced, one there", hostwise.DNSMalformed, func(c io.Writer, q []byte, stop <-chan struct{}) { c.Write(framed(lies(q, 65535))); <-stop }},
	{"no record announced, one there", hostwise.DNSNoData, func(c io.Writer, q []byte, stop <-chan struct{}) { c.Write(framed(lies(q, 0))); <-stop }},
	{"4,000 records", "", func(c io.Writer, q []byte, stop <-chan struct{}) { c.Write(framed(answerTo(q, 4000))); <-stop }},
	{"garbage", hostwise.DNSServerUnreachable, func(c io.Writer, q []byte, stop <-chan struct{}) {
		io.WriteString(c, strings.Repeat("\x00\x10garbage-garbage!", 100))
		<-stop
	}},
	{"lengths without data", hostwise.DNSTimeout, func(c io.Writer, q []byte, stop <-chan struct{}) { c.Write([]byte{0xff, 0xff}); <-stop }},
	{"lengths of nothing, for ever", hostwise.DNSServerUnreachable, func(c io.Writer, q []byte, stop <-chan struct{}) {
		for {
			if _, err := c.Write(make([]byte, 64)); err != nil {
				return
			}
		}
	}},
	{"half a message, then silence", hostwise.DNSTimeout, func(c io.Writer, q []byte, stop <-chan struct{}) {
		b := framed(answerTo(q, 9))
		c.Write(b[:len(b)/2])
		<-stop
	}},
	{"half a message, then the end", hostwise.DNSServerUnreachable, func(c io.Writer, q []byte, stop <-chan struct{}) { b := framed(answerTo(q, 9)); c.Write(b[:len(b)/2]) }},
	{"a byte a second", hostwise.DNSTimeout, func(c io.Writer, q []byte, stop <-chan struct{}) {
		for _, b := range framed(answerTo(q, 9)) {
			time.Sleep(time.Second)
			if _, err := c.Write([]byte{b}); err != nil {
				return
			}
		}
	}},
	{"answers to questions not asked, for ever", hostwise.DNSServerUnreachable, func(c io.Writer, q []byte, stop <-chan struct{}) {
		other, _ := new(dns.Msg).SetQuestion("other.test.", dns.TypeA).Pack()
		for {
			if _, err := c.Write(framed(answerTo(other, 100))); err != nil {
				return
			}
		}
	}},
	{"the answer, for ever", "", func(c io.Writer, q []byte, stop <-chan struct{}) {
		for {
			if _, err := c.Write(framed(answerTo(q, 1))); err != nil {
				return
			}
		}
	}},
}

// What nameservers send over TCP that is no answer, or hardly: alone, it is a
// typed error in the time that a lookup has; beside another nameserver, it
// costs one try at most.
func TestMalformed_Stream(t *testing.T) {
	for _, tt := range malformedReplies {
		for _, servers := range [][]string{{"tcp://192.0.2.53"}, {"tcp://192.0.2.53", "tcp://192.0.2.54"}} {
			t.Run(tt.name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					n := simnet.New(1)
					stop := make(chan struct{})
					l, err := n.Listen("192.0.2.53:53")
					if err != nil {
						t.Fatal(err)
					}
					var conns atomic.Int32
					go func() {
						for {
							c, err := l.Accept()
							if err != nil {
								return
							}
							conns.Add(1)
							go func() {
								defer c.Close()
								var size [2]byte
								if _, err := io.ReadFull(c, size[:]); err != nil {
									return
								}
								q := make([]byte, binary.BigEndian.Uint16(size[:]))
								if _, err := io.ReadFull(c, q); err != nil {
									return
								}
								tt.say(c, q, stop)
							}()
						}
					}()
					good := n.ServeDNS("192.0.2.54:53")
					good.AddHost("a.test", 60, netip.MustParseAddr("192.0.2.7"))
					r, err := dnscache.New(&dnscache.Options{Servers: servers, HostsFile: os.DevNull, Dial: n.DialContext})
					if err != nil {
						t.Fatal(err)
					}
					start := time.Now()
					addrs, err := r.LookupNetIP(context.Background(), "ip4", "a.test")
					took := time.Since(start)
					t.Logf("%d servers: %d addresses, %v, after %v and %d connections", len(servers), len(addrs), err, took, conns.Load())
					want := tt.alone
					if len(servers) > 1 && want != hostwise.DNSNoData {
						want = ""
					}
					if got := hostwise.KindOf(err); err != nil && got != want || err == nil && want != "" {
						t.Errorf("%v, %v: kind %q, want %q", addrs, err, got, want)
					}
					if len(addrs) > 64 || took > 4*time.Second || len(servers) > 1 && took > 2*time.Second || conns.Load() > 4 {
						t.Errorf("%d addresses after %v and %d connections", len(addrs), took, conns.Load())
					}
					time.Sleep(time.Minute)
					if open := n.Stats().Open; open > 2 { // both ends of one; what else was open is closed
						t.Errorf("%d sockets are open a minute later", open)
					}
					r.Close()
					close(stop)
					l.Close()
					good.Close()
				})
			})
		}
	}
}
