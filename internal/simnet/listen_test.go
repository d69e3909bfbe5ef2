package simnet

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestListen_AddressInUse(t *testing.T) {
	n := New(1)
	l := mustListen(t, n, "192.0.2.1:80")
	if _, err := n.Listen("192.0.2.1:80"); !errors.Is(err, syscall.EADDRINUSE) {
		t.Errorf("got error %v, want address already in use", err)
	}
	l.Close()
	mustListen(t, n, "192.0.2.1:80")
}

func TestListen_PortZeroIsEphemeral(t *testing.T) {
	n := New(1)
	a, b := mustListen(t, n, "192.0.2.1:0").Addr().String(), mustListen(t, n, "192.0.2.1:0").Addr().String()
	if a == b {
		t.Errorf("both listen on %s", a)
	}
	c, err := n.DialContext(t.Context(), "tcp", b)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestListen_UnspecifiedStandsForTheFamily(t *testing.T) {
	n := New(1)
	all := mustListen(t, n, "0.0.0.0:80")
	one := mustListen(t, n, "192.0.2.1:80")
	for _, tt := range []struct {
		address string
		l       net.Listener
	}{{"192.0.2.1:80", one}, {"192.0.2.2:80", all}} {
		if _, err := n.DialContext(t.Context(), "tcp", tt.address); err != nil {
			t.Fatal(err)
		}
		c, err := tt.l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if got := c.LocalAddr().String(); got != tt.address {
			t.Errorf("accepted at %s, want %s", got, tt.address)
		}
	}
	if _, err := n.DialContext(t.Context(), "tcp", "[2001:db8::1]:80"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("IPv6: got error %v, want connection refused", err)
	}
}

func TestListener_CloseResetsItsBacklogAndEndsAccept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		n.SetLink(host4, Link{RTT: 80 * ms})
		l := mustListen(t, n, "192.0.2.1:80")
		c, err := n.DialContext(t.Context(), "tcp", "192.0.2.1:80")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		accepted := make(chan error)
		go func() {
			_, err := l.Accept()
			accepted <- err
		}()
		synctest.Wait()
		begin := time.Now()
		l.Close()
		wantErr(t, <-accepted, "accept", net.ErrClosed)
		_, err = c.Read(make([]byte, 1))
		wantErr(t, err, "read", syscall.ECONNRESET)
		after(t, "reset", begin, 40*ms)
		wantErr(t, l.Close(), "close", net.ErrClosed)
	})
}

func TestListener_AcceptsInOrderOfArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		near := netip.MustParseAddr("192.0.2.2")
		n.SetLink(host4, Link{RTT: 80 * ms})
		n.SetLink(near, Link{RTT: 20 * ms})
		l := mustListen(t, n, "0.0.0.0:80")
		begin := time.Now()
		for _, address := range []string{"192.0.2.1:80", "192.0.2.2:80"} {
			if _, err := n.DialContext(t.Context(), "tcp", address); err != nil {
				t.Fatal(err)
			}
		}
		// The dials took 80 ms and 20 ms, the last ACKs take 40 ms and 10 ms.
		for _, want := range []struct {
			address string
			at      time.Duration
		}{{"192.0.2.2:80", 110 * ms}, {"192.0.2.1:80", 120 * ms}} {
			c, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if got := c.LocalAddr().String(); got != want.address {
				t.Errorf("accepted %s, want %s", got, want.address)
			}
			after(t, want.address, begin, want.at)
		}
	})
}
