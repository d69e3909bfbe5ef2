package simnet

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/nettest"
)

func TestConn(t *testing.T) {
	for _, rtt := range []time.Duration{0, 2 * ms} {
		t.Run(rtt.String(), func(t *testing.T) {
			nettest.TestConn(t, func() (c1, c2 net.Conn, stop func(), err error) {
				n := New(1)
				c1, c2 = connect(t, n, Link{RTT: rtt})
				return c1, c2, func() { c1.Close(); c2.Close() }, nil
			})
		})
	}
}

// connect returns both ends of a connection over a link. The first is the one
// that dialled.
func connect(t *testing.T, n *Network, link Link) (client, server net.Conn) {
	t.Helper()
	l, err := n.Listen("192.0.2.1:80")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	n.SetLink(host4, link)
	if client, err = n.DialContext(t.Context(), "tcp", "192.0.2.1:80"); err != nil {
		t.Fatal(err)
	}
	if server, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// after fails the test unless d has passed since begin.
func after(t *testing.T, what string, begin time.Time, want time.Duration) {
	t.Helper()
	if got := time.Since(begin); got != want {
		t.Errorf("%s: after %v, want %v", what, got, want)
	}
}

// wantErr fails the test unless err is an OpError of op around target.
func wantErr(t *testing.T, err error, op string, target error) {
	t.Helper()
	var opErr *net.OpError
	if !errors.Is(err, target) || !errors.As(err, &opErr) || opErr.Op != op {
		t.Errorf("got error %v, want %s error %v", err, op, target)
	}
}

func TestConn_DataArrivesHalfARoundTripLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		begin := time.Now()
		client, server := connect(t, n, Link{RTT: 80 * ms})
		after(t, "accepted", begin, 120*ms) // SYN, SYN-ACK, ACK

		begin = time.Now()
		client.Write([]byte("ping"))
		after(t, "written", begin, 0)
		b := make([]byte, 10)
		m, err := server.Read(b)
		if got := string(b[:m]); got != "ping" || err != nil {
			t.Errorf("got %q and error %v, want ping", got, err)
		}
		after(t, "request", begin, 40*ms)
		server.Write([]byte("pong"))
		m, err = client.Read(b)
		if got := string(b[:m]); got != "pong" || err != nil {
			t.Errorf("got %q and error %v, want pong", got, err)
		}
		after(t, "response", begin, 80*ms)
	})
}

func TestConn_StaysInOrderWhenTheLinkGetsFaster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		client, server := connect(t, n, Link{RTT: 80 * ms})
		begin := time.Now()
		client.Write([]byte("slow,"))
		n.SetLink(host4, Link{RTT: 2 * ms})
		client.Write([]byte("fast"))
		client.Close()
		got, err := io.ReadAll(server)
		if string(got) != "slow,fast" || err != nil {
			t.Errorf("got %q and error %v, want slow,fast", got, err)
		}
		after(t, "end", begin, 40*ms)
	})
}

func TestConn_WriteWaitsForTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := New(1)
		client, server := connect(t, n, Link{RTT: 80 * ms})
		begin := time.Now()
		m, err := client.Write(make([]byte, window))
		if m != window || err != nil {
			t.Errorf("wrote %d with error %v, want %d", m, err, window)
		}
		after(t, "a window full", begin, 0)
		client.SetWriteDeadline(begin.Add(time.Second))
		m, err = client.Write([]byte("more"))
		if m != 0 {
			t.Errorf("wrote %d, want 0", m)
		}
		wantErr(t, err, "write", os.ErrDeadlineExceeded)
		after(t, "deadline", begin, time.Second)

		client.SetWriteDeadline(time.Time{})
		time.AfterFunc(time.Second, func() { server.Read(make([]byte, 3)) })
		go client.SetWriteDeadline(begin.Add(3 * time.Second))
		m, err = client.Write([]byte("more"))
		if m != 3 { // the part that fits counts
			t.Errorf("wrote %d, want 3", m)
		}
		wantErr(t, err, "write", os.ErrDeadlineExceeded)
		after(t, "later deadline", begin, 3*time.Second)
	})
}

// Which of two blocked writers gets the room is the scheduler's choice, so the
// first write is played by the test.
func TestConn_WritesDoNotMix(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, New(1), Link{})
		out := client.(*conn).out
		setWriting := func(writing bool) {
			out.mu.Lock()
			defer out.mu.Unlock()
			out.writing = writing
			out.changed.broadcast()
		}
		begin := time.Now()
		setWriting(true)
		time.AfterFunc(time.Second, func() { setWriting(false) })
		written := make(chan error)
		go func() {
			_, err := client.Write([]byte("second"))
			written <- err
		}()
		if _, err := io.ReadFull(server, make([]byte, 6)); err != nil {
			t.Error(err)
		}
		after(t, "second write", begin, time.Second)
		if err := <-written; err != nil {
			t.Error(err)
		}

		setWriting(true)
		client.SetWriteDeadline(begin.Add(2 * time.Second))
		_, err := client.Write([]byte("third"))
		wantErr(t, err, "write", os.ErrDeadlineExceeded)
		after(t, "deadline", begin, 2*time.Second)
	})
}

func TestConn_CloseWriteEndsOneDirection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, New(1), Link{RTT: 80 * ms})
		begin := time.Now()
		client.Write([]byte("request"))
		if err := client.(interface{ CloseWrite() error }).CloseWrite(); err != nil {
			t.Error(err)
		}
		_, err := client.Write([]byte("more"))
		wantErr(t, err, "write", syscall.EPIPE)
		got, err := io.ReadAll(server)
		if string(got) != "request" || err != nil {
			t.Errorf("got %q and error %v, want request", got, err)
		}
		after(t, "request", begin, 40*ms)
		if _, err := server.Write([]byte("response")); err != nil {
			t.Error(err)
		}
		server.Close()
		got, err = io.ReadAll(client)
		if string(got) != "response" || err != nil {
			t.Errorf("got %q and error %v, want response", got, err)
		}
		after(t, "response", begin, 80*ms)
	})
}

func TestConn_PeerLearnsOfACloseHalfARoundTripLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, New(1), Link{RTT: 80 * ms})
		begin := time.Now()
		server.Close()
		if _, err := client.Write([]byte("into the void")); err != nil {
			t.Errorf("before the FIN: got error %v, want none", err)
		}
		if _, err := client.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("got error %v, want EOF", err)
		}
		after(t, "EOF", begin, 40*ms)
		_, err := client.Write([]byte("x"))
		wantErr(t, err, "write", syscall.EPIPE)
	})
}

func TestConn_CloseEndsItsOwnCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, _ := connect(t, New(1), Link{})
		errs := make(chan error, 2)
		go func() {
			_, err := client.Read(make([]byte, 1))
			errs <- err
		}()
		go func() {
			_, err := client.Write(make([]byte, window+1))
			errs <- err
		}()
		synctest.Wait()
		client.Close()
		for range 2 {
			if err := <-errs; !errors.Is(err, net.ErrClosed) {
				t.Errorf("got error %v, want closed", err)
			}
		}
		wantErr(t, client.Close(), "close", net.ErrClosed)
		wantErr(t, client.SetDeadline(time.Time{}), "set", net.ErrClosed)
		_, err := client.Write([]byte("x"))
		wantErr(t, err, "write", net.ErrClosed)
	})
}

func TestConn_ReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, New(1), Link{RTT: 80 * ms})
		begin := time.Now()
		server.Write([]byte("x"))
		client.SetReadDeadline(begin.Add(40 * ms)) // the instant of the arrival: the deadline wins
		_, err := client.Read(make([]byte, 1))
		wantErr(t, err, "read", os.ErrDeadlineExceeded)
		after(t, "deadline", begin, 40*ms)
		client.SetReadDeadline(time.Time{})
		if _, err := client.Read(make([]byte, 1)); err != nil {
			t.Errorf("without deadline: got error %v, want none", err)
		}
	})
}

func TestConn_CloseWithUnreadDataResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, New(1), Link{RTT: 80 * ms})
		client.Write([]byte("unread"))
		server.Write([]byte("partial"))
		pass(40 * ms)
		begin := time.Now()
		server.Close()
		got, err := io.ReadAll(client)
		if string(got) != "partial" {
			t.Errorf("got %q, want partial", got)
		}
		wantErr(t, err, "read", syscall.ECONNRESET)
		after(t, "reset", begin, 40*ms)
		_, err = client.Write([]byte("x"))
		wantErr(t, err, "write", syscall.ECONNRESET)
	})
}

func TestConn_SetLingerResets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := connect(t, New(1), Link{RTT: 80 * ms})
		begin := time.Now()
		server.(interface{ SetLinger(sec int) error }).SetLinger(0)
		server.Close()
		_, err := client.Read(make([]byte, 1))
		wantErr(t, err, "read", syscall.ECONNRESET)
		after(t, "reset", begin, 40*ms)
	})
}
