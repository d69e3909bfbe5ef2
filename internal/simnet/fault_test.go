package simnet

import (
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func TestFault_DataHoleConnectsAndSwallowsData(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, New(1), Link{RTT: 80 * ms, Fault: DataHole})
		begin := time.Now()
		for _, c := range []net.Conn{client, server} {
			if _, err := c.Write([]byte("x")); err != nil {
				t.Errorf("got error %v, want none", err)
			}
			c.SetReadDeadline(begin.Add(time.Hour))
		}
		for _, c := range []net.Conn{client, server} {
			_, err := c.Read(make([]byte, 1))
			wantErr(t, err, "read", os.ErrDeadlineExceeded)
		}
		after(t, "deadlines", begin, time.Hour)
	})
}

func TestFault_DataHoleLetsACloseThrough(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, New(1), Link{RTT: 80 * ms, Fault: DataHole})
		begin := time.Now()
		client.Close()
		if _, err := server.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got error %v, want EOF", err)
		}
		after(t, "EOF", begin, 40*ms)
	})
}

func TestFault_ResetDataResetsBothEnds(t *testing.T) {
	for _, writer := range []string{"client", "server"} {
		t.Run(writer, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := connect(t, New(1), Link{RTT: 80 * ms, Fault: ResetData})
				if writer == "server" {
					near, far = far, near
				}
				begin := time.Now()
				if m, err := near.Write(make([]byte, 2*window)); m != 2*window || err != nil {
					t.Errorf("wrote %d with error %v, want %d", m, err, 2*window)
				}
				_, err := far.Read(make([]byte, 1))
				wantErr(t, err, "read", syscall.ECONNRESET)
				after(t, "at the other end", begin, 40*ms)
				_, err = near.Read(make([]byte, 1))
				wantErr(t, err, "read", syscall.ECONNRESET)
				after(t, "at the writer's end", begin, 80*ms)
				_, err = near.Write([]byte("x"))
				wantErr(t, err, "write", syscall.ECONNRESET)
			})
		})
	}
}

func TestFault_ResetLeavesWhatArrivedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		client, server := connect(t, n, Link{RTT: 80 * ms})
		begin := time.Now()
		client.Write([]byte("early"))
		n.SetLink(host4, Link{RTT: 80 * ms, Fault: BlackHole})
		client.Write([]byte("lost"))
		n.SetLink(host4, Link{RTT: 600 * ms, Fault: ResetData})
		client.Write([]byte("reset"))
		got, err := io.ReadAll(server)
		if string(got) != "early" {
			t.Errorf("got %q, want early", got)
		}
		wantErr(t, err, "read", syscall.ECONNRESET)
		after(t, "reset", begin, 300*ms)
	})
}

// A connection survives an outage: its data is sent again with doubling
// intervals, after 0.2 s, 0.6 s, 1.4 s, 3 s.
func TestFault_DataIsRetransmittedAfterAnOutage(t *testing.T) {
	for _, fault := range []Fault{BlackHole, Unreachable, NoRoute, DataHole} {
		synctest.Test(t, func(t *testing.T) {
			n := New(1)
			client, server := connect(t, n, Link{RTT: 80 * ms})
			begin := time.Now()
			n.SetLink(host4, Link{RTT: 80 * ms, Fault: fault})
			client.Write([]byte("lost,"))
			time.AfterFunc(2*time.Second, func() { n.SetLink(host4, Link{RTT: 80 * ms}) })
			time.AfterFunc(2500*ms, func() {
				client.Write([]byte("not lost"))
				client.Close()
			})
			got, err := io.ReadAll(server)
			if string(got) != "lost,not lost" || err != nil {
				t.Errorf("fault %d: got %q and error %v, want lost,not lost", fault, got, err)
			}
			after(t, "arrival", begin, 3*time.Second+40*ms)
		})
	}
}

func TestFault_RefuseLeavesConnectionsAlone(t *testing.T) {
	n := New(1)
	client, server := connect(t, n, Link{})
	n.SetLink(host4, Link{Fault: Refuse})
	client.Write([]byte("x"))
	if _, err := server.Read(make([]byte, 1)); err != nil {
		t.Errorf("got error %v, want none", err)
	}
}

// What is never delivered must not keep virtual time running for ever: Linux
// gives up after 15 retransmissions.
func TestFault_RetransmissionEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		client, server := connect(t, n, Link{})
		begin := time.Now()
		n.SetLink(host4, Link{Fault: BlackHole})
		client.Write([]byte("lost"))
		time.AfterFunc(24*time.Hour, func() { n.SetLink(host4, Link{}) })
		server.SetReadDeadline(begin.Add(48 * time.Hour))
		_, err := server.Read(make([]byte, 1))
		wantErr(t, err, "read", os.ErrDeadlineExceeded)
	})
}
