package dnscache_test

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// What RFC 7766 says about a server that closes connections and about the
// bytes on them. Use again, pipelining, replies in any order and the client's
// own closing are in stream_test.go.

// serveTCP serves TCP on 192.0.2.53: connection n, from 0 on, is serve's.
func (w *world) serveTCP(serve func(c net.Conn, n int)) (stop func()) {
	w.net.SetLink(parse("192.0.2.53")[0], simnet.Link{RTT: rtt})
	l, err := w.net.Listen("192.0.2.53:53")
	if err != nil {
		w.t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for n := 0; ; n++ {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() {
				defer c.Close()
				serve(c, n)
			})
		}
	})
	return func() {
		l.Close()
		w.r.Close()
		wg.Wait()
	}
}

// next reads a query and returns the message that answers it, behind its
// length; nil when there are no more.
func next(t *testing.T, c net.Conn) []byte {
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return nil
	}
	query := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, query); err != nil {
		t.Error("half a query:", err)
		return nil
	}
	m := new(dns.Msg)
	if err := m.Unpack(query); err != nil {
		t.Error("not a query:", err)
		return nil
	}
	m.Response, m.RecursionAvailable, m.Answer = true, true, []dns.RR{rrA(m.Question[0].Name, 60)}
	b, err := m.Pack()
	if err != nil {
		t.Error(err)
		return nil
	}
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
}

func TestRFC7766_ServerClosesConnections(t *testing.T) {
	for _, tt := range []struct {
		section, name string
		serve         func(t *testing.T, c net.Conn, n int)
		pause         time.Duration // between the two lookups
		elapsed       [2]time.Duration
		conns         int
	}{
		{"6.2.4", "an idle connection", func(t *testing.T, c net.Conn, n int) {
			c.Write(next(t, c))
			time.Sleep(time.Second)
		}, 2 * time.Second, [2]time.Duration{2 * rtt, 2 * rtt}, 2},
		{"6.2.4", "at the moment of a query", func(t *testing.T, c net.Conn, n int) {
			c.Write(next(t, c))
			time.Sleep(time.Second)
		}, time.Second - rtt/2, [2]time.Duration{2 * rtt, rtt/2 + 2*rtt}, 2},
		{"6.2.4", "instead of a reply", func(t *testing.T, c net.Conn, n int) {
			c.Write(next(t, c))
			if n == 0 {
				next(t, c)
			}
		}, time.Second, [2]time.Duration{2 * rtt, 3 * rtt}, 2},
		{"6.2.4", "in the middle of a reply", func(t *testing.T, c net.Conn, n int) {
			c.Write(next(t, c))
			if n == 0 {
				reply := next(t, c)
				c.Write(reply[:len(reply)/2])
			}
		}, time.Second, [2]time.Duration{2 * rtt, 3 * rtt}, 2},
		{"6.2.4", "in the middle of the first reply", func(t *testing.T, c net.Conn, n int) {
			for reply := next(t, c); reply != nil; reply = next(t, c) {
				if n == 0 {
					c.Write(reply[:len(reply)/2])
					return
				}
				c.Write(reply)
			}
		}, time.Second, [2]time.Duration{4 * rtt, rtt}, 2},
		{"8", "no: the bytes come one by one", func(t *testing.T, c net.Conn, n int) {
			for reply := next(t, c); reply != nil; reply = next(t, c) {
				for i := range reply {
					c.Write(reply[i : i+1])
					time.Sleep(time.Millisecond)
				}
			}
		}, time.Second, [2]time.Duration{2*rtt + 58*time.Millisecond, rtt + 58*time.Millisecond}, 1},
		{"8", "no: empty messages come in between", func(t *testing.T, c net.Conn, n int) {
			for reply := next(t, c); reply != nil; reply = next(t, c) {
				c.Write(append([]byte{0, 0, 0, 1, 9}, reply...))
			}
		}, time.Second, [2]time.Duration{2 * rtt, rtt}, 1},
	} {
		t.Run(tt.section+" "+tt.name, func(t *testing.T) {
			withServers(t, []string{"tcp://192.0.2.53"}, func(w *world) {
				conns := 0
				defer w.serveTCP(func(c net.Conn, n int) {
					conns = max(conns, n+1)
					tt.serve(t, c, n)
				})()
				w.gets("ip4", "a.test", tt.elapsed[0], "192.0.2.1")
				time.Sleep(tt.pause)
				w.gets("ip4", "b.test", tt.elapsed[1], "192.0.2.1")
				synctest.Wait()
				if conns != tt.conns {
					t.Errorf("%d connections, want %d", conns, tt.conns)
				}
			})
		})
	}
}

// Section 6.2.1.1: a closed connection does not disturb those who did not use
// it, and 100 queries on it are all asked again.
func TestRFC7766_AllQueriesOfAClosedConnectionAreAskedAgain(t *testing.T) {
	withServers(t, []string{"tcp://192.0.2.53"}, func(w *world) {
		defer w.serveTCP(func(c net.Conn, n int) {
			for i := 0; ; i++ {
				reply := next(t, c)
				if reply == nil || n == 0 && i == 50 {
					return // and 50 have no answer
				}
				c.Write(reply)
			}
		})()
		var wg sync.WaitGroup
		for _, h := range names(100) {
			wg.Go(func() {
				if _, err := w.r.LookupNetIP(context.Background(), "ip4", h); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if d := time.Since(w.start); d != 4*rtt {
			t.Errorf("took %v, want %v: connect and answer, twice", d, 4*rtt)
		}
	})
}
