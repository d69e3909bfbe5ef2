package simnet

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"
)

// The errors of this package are compared to those of real sockets, on the
// loopback interface. Skipped where that is not Linux, since errors elsewhere
// have other texts, and where there is no loopback interface.
func TestErrors_AreThoseOfPackageNet(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the errors are those of Linux")
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Skipf("no loopback interface: %v", err)
	}
	closed := free.Addr().String()
	free.Close()
	real := errorsOf(t, new(net.Dialer).DialContext, func() (net.Listener, error) {
		return net.Listen("tcp", "127.0.0.1:0")
	}, closed)
	n := New(1)
	simulated := errorsOf(t, n.DialContext, func() (net.Listener, error) {
		return n.Listen("127.0.0.1:0")
	}, closed)
	if len(real) != len(simulated) {
		t.Fatalf("got %d errors, want %d", len(simulated), len(real))
	}
	for i := range real {
		if got, want := simulated[i], real[i]; got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	}
}

// ports finds what differs from run to run: IPv4 addresses with their ports.
var ports = regexp.MustCompile(`[0-9.]+\.[0-9]+:[0-9]+`)

type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// errorsOf returns the errors that a network makes, in words. Nobody listens
// at the address closed.
func errorsOf(t *testing.T, dial dialFunc, listen func() (net.Listener, error), closed string) (all []string) {
	t.Helper()
	l, err := listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	note := func(what string, err error) { all = append(all, what+": "+describe(err)) }
	connect := func() (client, server net.Conn) {
		if client, err = dial(ctx, "tcp4", l.Addr().String()); err != nil {
			t.Fatal(err)
		}
		if server, err = l.Accept(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { client.Close(); server.Close() })
		return client, server
	}
	b := make([]byte, 1)

	_, err = dial(ctx, "tcp", closed)
	note("dial a closed port", err)
	late, cancelLate := context.WithTimeout(ctx, -1)
	defer cancelLate()
	_, err = dial(late, "tcp", closed)
	note("dial after the deadline", err)

	client, server := connect()
	client.SetDeadline(time.Now().Add(-time.Second))
	_, err = client.Read(b)
	note("read after the deadline", err)
	_, err = client.Write(b)
	note("write after the deadline", err)
	client.SetDeadline(time.Time{})
	server.(interface{ CloseWrite() error }).CloseWrite()
	_, err = client.Read(b)
	note("read after the peer's CloseWrite", err)
	_, err = server.Write(b)
	note("write after CloseWrite", err)
	client.Close()
	_, err = client.Read(b)
	note("read after Close", err)
	_, err = client.Write(b)
	note("write after Close", err)
	note("close after Close", client.Close())
	note("set a deadline after Close", client.SetDeadline(time.Time{}))
	note("CloseWrite after Close", client.(interface{ CloseWrite() error }).CloseWrite())

	client, server = connect()
	server.(interface{ SetLinger(sec int) error }).SetLinger(0)
	server.Close()
	_, err = client.Read(b)
	note("read after a reset", err)

	l.Close()
	_, err = l.Accept()
	note("accept after Close", err)
	note("close a listener after Close", l.Close())

	udp, err := dial(ctx, "udp4", closed)
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	udp.Write(b)
	udp.SetReadDeadline(time.Now().Add(time.Minute))
	_, err = udp.Read(b)
	note("read UDP after a refusal", err)
	udp.SetReadDeadline(time.Now().Add(-time.Second))
	_, err = udp.Read(b)
	note("read UDP after the deadline", err)
	_, err = udp.(net.PacketConn).WriteTo(b, udp.RemoteAddr())
	note("write to an address from a connected socket", err)
	udp.Close()
	_, err = udp.Read(b)
	note("read UDP after Close", err)
	note("set a deadline of UDP after Close", udp.SetDeadline(time.Time{}))

	cancel()
	for _, network := range []string{"tcp", "udp"} {
		_, err = dial(ctx, network, closed)
		note("dial "+network+" after cancel", err)
	}
	return all
}

// describe returns what callers can tell of an error, but for addresses.
func describe(err error) string {
	if err == nil || err == io.EOF {
		return fmt.Sprint(err)
	}
	var chain []string
	for e := err; e != nil; e = errors.Unwrap(e) {
		_, name, _ := strings.Cut(reflect.TypeOf(e).String(), ".") // some types are net's own there, ours here
		chain = append(chain, name)
	}
	text := ports.ReplaceAllString(err.Error(), "addr")
	var netErr net.Error
	var op net.OpError
	if opErr, ok := err.(*net.OpError); ok {
		op = *opErr
	}
	return fmt.Sprintf("%s %v timeout=%v deadline=%v canceled=%v op=%s net=%s source=%v addr=%v",
		text, chain, errors.As(err, &netErr) && netErr.Timeout(), errors.Is(err, context.DeadlineExceeded),
		errors.Is(err, context.Canceled), op.Op, op.Net, op.Source != nil, op.Addr != nil)
}
