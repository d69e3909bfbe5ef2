package simnet

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// listenUDP opens an unconnected socket until the test ends.
func listenUDP(t *testing.T, n *Network, address string) net.PacketConn {
	t.Helper()
	pc, err := n.ListenPacket(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { pc.Close() })
	return pc
}

// dialUDP opens a socket connected to address until the test ends.
func dialUDP(t *testing.T, n *Network, address string) net.Conn {
	t.Helper()
	c, err := n.DialContext(context.Background(), "udp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// wantRead fails the test unless the next datagram is want.
func wantRead(t *testing.T, c net.Conn, want string) {
	t.Helper()
	b := make([]byte, 100)
	m, err := c.Read(b)
	if got := string(b[:m]); got != want || err != nil {
		t.Errorf("read %q with error %v, want %q", got, err, want)
	}
}

func TestPacketConn_TakesHalfARoundTripEachWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		n.SetLink(host4, Link{RTT: 80 * ms})
		server := listenUDP(t, n, "192.0.2.1:53")
		client := dialUDP(t, n, "192.0.2.1:53")
		begin := time.Now()
		client.Write([]byte("query"))
		b := make([]byte, 100)
		m, from, err := server.ReadFrom(b)
		if err != nil {
			t.Fatal(err)
		}
		after(t, "query", begin, 40*ms)
		if got, want := from.String(), client.LocalAddr().String(); got != want {
			t.Errorf("from %s, want %s", got, want)
		}
		server.WriteTo(b[:m], from)
		wantRead(t, client, "query")
		after(t, "answer", begin, 80*ms)
	})
}

func TestPacketConn_KeepsMessages(t *testing.T) {
	n := New(1)
	server := listenUDP(t, n, "[2001:db8::1]:53")
	client := dialUDP(t, n, "[2001:db8::1]:53")
	for _, s := range []string{"one", "", "three"} {
		server.WriteTo([]byte(s), client.LocalAddr())
	}
	b := make([]byte, 2)
	if m, err := client.Read(b); m != 2 || err != nil { // what does not fit is lost
		t.Errorf("read %d with error %v, want 2", m, err)
	}
	wantRead(t, client, "")
	wantRead(t, client, "three")
	_, err := client.Write(make([]byte, maxDatagram+1))
	wantErr(t, err, "write", syscall.EMSGSIZE)
}

func TestPacketConn_OvertakesOnAFasterLink(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		server := listenUDP(t, n, "192.0.2.1:53")
		client := dialUDP(t, n, "192.0.2.1:53")
		begin := time.Now()
		n.SetLink(host4, Link{RTT: 80 * ms})
		server.WriteTo([]byte("slow"), client.LocalAddr())
		n.SetLink(host4, Link{RTT: 20 * ms})
		server.WriteTo([]byte("fast"), client.LocalAddr())
		wantRead(t, client, "fast")
		after(t, "fast", begin, 10*ms)
		wantRead(t, client, "slow")
		after(t, "slow", begin, 40*ms)
	})
}

func TestPacketConn_ConnectedHearsOnlyItsPeer(t *testing.T) {
	n := New(1)
	server := listenUDP(t, n, "192.0.2.1:53")
	client := dialUDP(t, n, "192.0.2.1:53")
	to := netip.MustParseAddrPort(client.LocalAddr().String())
	other := listenUDP(t, n, "192.0.2.2:53")
	other.WriteTo([]byte("from another socket"), client.LocalAddr())
	n.Inject(netip.MustParseAddrPort("192.0.2.1:54"), to, []byte("from another port"))
	n.Inject(netip.MustParseAddrPort("192.0.2.1:53"), to, []byte("forged"))
	server.WriteTo([]byte("true"), client.LocalAddr())
	wantRead(t, client, "forged")
	wantRead(t, client, "true")
	if got := n.Stats().Filtered; got != 2 {
		t.Errorf("%d datagrams were filtered, want 2", got)
	}
	n.Inject(netip.MustParseAddrPort("192.0.2.1:53"), netip.MustParseAddrPort("10.0.0.1:1"), nil) // to nobody
}

func TestPacketConn_HearsOfAClosedPortOnce(t *testing.T) {
	tests := []struct {
		name string
		link Link
		port string
	}{
		{"nobody listens", Link{RTT: 80 * ms}, "54"},
		{"refuse", Link{RTT: 80 * ms, Fault: Refuse}, "53"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := New(1)
				n.SetLink(host4, tt.link)
				listenUDP(t, n, "192.0.2.1:53")
				client := dialUDP(t, n, "192.0.2.1:"+tt.port)
				begin := time.Now()
				for range 2 { // two messages, one pending error
					if _, err := client.Write([]byte("x")); err != nil {
						t.Errorf("got error %v, want none", err)
					}
				}
				_, err := client.Read(make([]byte, 1))
				wantErr(t, err, "read", syscall.ECONNREFUSED)
				after(t, "read", begin, 80*ms)
				client.Write([]byte("x"))
				pass(80 * ms)
				_, err = client.Write([]byte("x"))
				wantErr(t, err, "write", syscall.ECONNREFUSED)
				if _, err := client.Write([]byte("x")); err != nil {
					t.Errorf("got error %v, want none", err)
				}
			})
		})
	}
}

func TestPacketConn_FaultsAndDrops(t *testing.T) {
	tests := []struct {
		name string
		link Link
		want int // first of the datagrams 0, 1, 2 that the server gets, or -1
	}{
		{"healthy", Link{}, 0},
		{"black hole", Link{Fault: BlackHole}, -1},
		{"unreachable", Link{Fault: Unreachable}, -1},
		{"data hole", Link{Fault: DataHole}, 0},
		{"reset data", Link{Fault: ResetData}, 0},
		{"loss", Link{Loss: 1}, -1},
		{"first two dropped", Link{DropDatagrams: 2}, 2},
		{"SYNs dropped", Link{DropSYNs: 2}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			n := New(1)
			n.SetLink(host4, tt.link)
			server := listenUDP(t, n, "192.0.2.1:53")
			client := dialUDP(t, n, "192.0.2.1:53")
			for i := range 3 {
				if _, err := client.Write([]byte{byte(i)}); err != nil {
					t.Errorf("got error %v, want none", err)
				}
			}
			server.SetReadDeadline(time.Now().Add(-1)) // nothing is under way: it is there or not
			got, queue := -1, server.(*packetConn).queue
			if len(queue) > 0 {
				got = int(queue[0].data[0])
			}
			if got != tt.want {
				t.Errorf("got datagram %d, want %d", got, tt.want)
			}
			if got := n.Stats().Hosts[host4].Datagrams; got != 3 {
				t.Errorf("%d datagrams were sent, want 3", got)
			}
		})
	}
}

func TestPacketConn_AnswersGoOverTheServersLink(t *testing.T) {
	n := New(1)
	server := listenUDP(t, n, "192.0.2.1:53")
	client := dialUDP(t, n, "192.0.2.1:53")
	n.SetLink(host4, Link{DropDatagrams: 1}) // queries only
	server.WriteTo([]byte("answer"), client.LocalAddr())
	wantRead(t, client, "answer")
	n.SetLink(host4, Link{Fault: BlackHole})
	server.WriteTo([]byte("lost"), client.LocalAddr())
	n.SetLink(host4, Link{})
	server.WriteTo([]byte("found"), client.LocalAddr())
	wantRead(t, client, "found")
}

func TestPacketConn_NoRouteFailsAtOnce(t *testing.T) {
	n := New(1)
	client := dialUDP(t, n, "[2001:db8::1]:53")
	n.SetFamily(true, &Link{RTT: time.Hour, Fault: NoRoute})
	_, err := client.Write([]byte("x"))
	wantErr(t, err, "write", syscall.ENETUNREACH)
	_, err = n.DialContext(t.Context(), "udp", "[2001:db8::1]:53")
	wantErr(t, err, "dial", syscall.ENETUNREACH)
	if got, want := err.Error(), "dial udp [2001:db8::1]:53: connect: network is unreachable"; got != want {
		t.Errorf("got error %q, want %q", got, want)
	}
}

func TestPacketConn_DeadlinesAndClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		client := dialUDP(t, n, "192.0.2.1:53")
		begin := time.Now()
		client.SetDeadline(begin.Add(time.Second))
		_, err := client.Read(make([]byte, 1))
		wantErr(t, err, "read", os.ErrDeadlineExceeded)
		after(t, "deadline", begin, time.Second)
		_, err = client.Write([]byte("x"))
		wantErr(t, err, "write", os.ErrDeadlineExceeded)

		client.SetDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { client.Close() })
		_, err = client.Read(make([]byte, 1))
		wantErr(t, err, "read", net.ErrClosed)
		after(t, "close", begin, 2*time.Second)
		_, err = client.Write([]byte("x"))
		wantErr(t, err, "write", net.ErrClosed)
		wantErr(t, client.Close(), "close", net.ErrClosed)
		if got := n.Stats().OpenUDP; got != 0 {
			t.Errorf("%d UDP sockets are open, want 0", got)
		}
	})
}

func TestPacketConn_ConnectedAndUnconnectedWrites(t *testing.T) {
	n := New(1)
	server := listenUDP(t, n, "192.0.2.1:53")
	client := dialUDP(t, n, "192.0.2.1:53")
	_, err := client.(net.PacketConn).WriteTo([]byte("x"), server.LocalAddr())
	wantErr(t, err, "write", net.ErrWriteToConnected)
	_, err = server.(net.Conn).Write([]byte("x"))
	wantErr(t, err, "write", syscall.EDESTADDRREQ)
	if got := server.(net.Conn).RemoteAddr(); got != nil {
		t.Errorf("got peer %v, want none", got)
	}
	if _, err := n.ListenPacket("192.0.2.1:53"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got error %v, want address already in use", err)
	}
}
