package hostwise_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"syscall"
	"time"

	"github.com/hostwise-go/hostwise"
)

// The name has addresses, and none of them can be connected to. Those that
// take a network of their own are in scenarios_linux_test.go.
var connectScenarios = []scenario{
	{"a closed port", refused(localhost), connectError, hostwise.ConnectRefused, connect, false, all(is(syscall.ECONNREFUSED), as[*net.OpError]), host},
	{"a closed port, https", secure(refused(localhost)), connectError, hostwise.ConnectRefused, connect, false, is(syscall.ECONNREFUSED), host},
	{"a closed port on two addresses", refused(localhost, "127.0.0.2"), connectError, hostwise.ConnectRefused, connect, false, is(syscall.ECONNREFUSED), host},
	{"a closed port in both families", refused("::1", localhost), connectError, hostwise.ConnectRefused, connect, false, is(syscall.ECONNREFUSED), host},
	{"a literal address with a closed port", literalAddress, connectError, hostwise.ConnectRefused, connect, false, is(syscall.ECONNREFUSED), host},
	{"silence", blackHole, connectError, hostwise.ConnectTimeout, connect, true, all(is(context.DeadlineExceeded), as[*net.OpError]), host},
	{"silence, https", secure(blackHole), connectError, hostwise.ConnectTimeout, connect, true, is(context.DeadlineExceeded), host},
	{"a broadcast address", dials("255.255.255.255"), connectError, hostwise.ConnectUnreachable, connect, false, is(syscall.ENETUNREACH), host},
	{"a reset in the base transport's own handshake", resetByGateway, connectError, hostwise.ConnectReset, connect, false, is(syscall.ECONNRESET), host},
	{"a source address that is not ours", from("192.0.2.1:0"), connectError, hostwise.LocalPorts, connect, false, is(syscall.EADDRNOTAVAIL), nobody},
	{"a source port in use", fromUsedPort, connectError, hostwise.LocalPorts, connect, false, is(syscall.EADDRINUSE), nobody},
	{"no room for one more connection", noRoom, connectError, hostwise.Deadline, connect, true, is(context.DeadlineExceeded), nobody},
	{"no room for one more to the host", noRoomAtHost, connectError, hostwise.Deadline, connect, true, is(context.DeadlineExceeded), nobody},
	{"a loopback address, with PublicOnly", notPublic("http://127.0.0.1/"), deniedError, hostwise.PolicyDenied, connect, false, anything, nobody},
	{"a mapped private address, with PublicOnly", notPublic("https://[::ffff:10.0.0.1]/"), deniedError, hostwise.PolicyDenied, connect, false, anything, nobody},
	{"a name with a private address, with PublicOnly", notPublic("http://" + hostName), deniedError, hostwise.PolicyDenied, connect, false, anything, nobody},
	{"a port above 65535", atOnce("http://" + hostName + ":99999/"), requestError, hostwise.BadURL, "", false, anything, nobody},
}

// refused has a closed port at the addresses.
func refused(addrs ...string) fixture {
	return func(l *lab) string {
		l.kernel()
		return l.hostAt(l.closedPort(), addrs...)
	}
}

// hostAt gives host.test other addresses.
func (l *lab) hostAt(port string, addrs ...string) string {
	var list []netip.Addr
	for _, a := range addrs {
		list = append(list, netip.MustParseAddr(a))
	}
	l.dns.Hosts[hostName] = list
	return "http://" + net.JoinHostPort(hostName, port)
}

// secure is the same host with an https URL.
func secure(f fixture) fixture {
	return func(l *lab) string { return "https" + f(l)[len("http"):] }
}

func literalAddress(l *lab) string {
	l.kernel()
	return "http://" + net.JoinHostPort(localhost, l.closedPort())
}

func dials(addr string) fixture {
	return func(l *lab) string {
		l.kernel()
		return l.hostAt("80", addr)
	}
}

// blackHole is a port whose queue of connections is full.
func blackHole(l *lab) string {
	l.silent = true
	port, err := l.fullPort()
	if err != nil {
		l.t.Skip("no port of this system drops connections:", err)
	}
	l.kernel()
	return "http://" + net.JoinHostPort(hostName, port)
}

// resetByGateway is a base transport whose DialContext goes through a gateway
// that has to be greeted first.
func resetByGateway(l *lab) string {
	port := l.serve(func(c net.Conn) {
		c.Read(make([]byte, 1))
		l.ready()
		reset(c)
	})
	l.base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		defer context.AfterFunc(ctx, func() { c.Close() })()
		if _, err = c.Write([]byte{1}); err == nil {
			_, err = io.ReadFull(c, make([]byte, 1))
		}
		if err != nil {
			c.Close()
			return nil, err
		}
		return c, nil
	}
	return "http://" + net.JoinHostPort(hostName, port)
}

func from(local string) fixture {
	return func(l *lab) string {
		d := l.dialer()
		d.LocalAddr = net.TCPAddrFromAddrPort(netip.MustParseAddrPort(local))
		l.base.DialContext = d.DialContext
		return "http://" + net.JoinHostPort(hostName, portOf(l.listen().Addr()))
	}
}

func fromUsedPort(l *lab) string { return from(l.listen().Addr().String())(l) }

// noRoom is a transport whose only connection is being used.
func noRoom(l *lab) string {
	l.opt.MaxConns = 1
	return l.occupied("http://" + proxyName + ":")
}

func noRoomAtHost(l *lab) string {
	l.opt.MaxConnsPerHost = 1
	return l.occupied("http://" + hostName + ":")
}

// occupied has a request hold a connection to the server at url, and then has
// another one to host.test.
func (l *lab) occupied(url string) string {
	l.silent, l.unbounded = true, true
	reached := make(chan struct{}, 1)
	port := l.serve(func(c net.Conn) {
		readRequest(c)
		fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n")
		reached <- struct{}{}
		<-l.done
	})
	l.first = func() {
		resp, err := (&http.Client{Transport: l.tr}).Get(url + port)
		if err != nil {
			l.t.Error(err)
			return
		}
		l.keep(resp.Body)
		<-reached
		if l.cancel != nil {
			time.AfterFunc(50*time.Millisecond, l.ready) // when the other one waits
		}
	}
	return "http://" + net.JoinHostPort(hostName, port)
}

func notPublic(url string) fixture {
	return func(l *lab) string {
		l.atOnce, l.opt.PublicOnly = true, true
		return url
	}
}
