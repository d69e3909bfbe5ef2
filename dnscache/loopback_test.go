package dnscache_test

import (
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
)

// A loopbackServer answers every query for an A or AAAA record with one, over
// UDP on the loopback interface, using as little time and memory as it can.
type loopbackServer struct {
	conn             *net.UDPConn
	addr             string
	silent, truncate atomic.Bool
}

func serveLoopback(t testing.TB) *loopbackServer {
	t.Helper()
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.MustParseAddrPort("127.0.0.1:0")))
	if err != nil {
		t.Fatal(err)
	}
	s := &loopbackServer{conn: conn, addr: conn.LocalAddr().String()}
	_ = conn.SetReadBuffer(4 << 20)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(s.serve)
	}
	t.Cleanup(func() {
		conn.Close()
		wg.Wait()
	})
	return s
}

func (s *loopbackServer) serve() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if n < 17 || s.silent.Load() {
			continue
		}
		end := 12
		for buf[end] != 0 {
			end += 1 + int(buf[end])
		}
		end += 5
		qtype, size := binary.BigEndian.Uint16(buf[end-4:]), 4
		if qtype == 28 {
			size = 16
		}
		copy(buf[2:], []byte{0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}) // flags and counts
		if s.truncate.Load() {
			buf[2] |= 0x02
		}
		reply := append(buf[:end], 0xc0, 12, 0, byte(qtype), 0, 1, 0, 0, 1, 44, 0, byte(size)) // the question's name, 300 s
		reply = append(reply, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1)[:len(reply)+size]
		_, _ = s.conn.WriteToUDPAddrPort(reply, from)
	}
}
