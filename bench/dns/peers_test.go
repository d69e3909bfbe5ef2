package dns

import (
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/dnscache"
	ncruces "github.com/ncruces/go-dns"
	rs "github.com/rs/dnscache"
)

// lookupFunc is LookupNetIP for both families. What it returns is counted and
// thrown away.
type lookupFunc func(host string) (addrs int, err error)

// A client is a resolver to be measured.
type client struct {
	name   string
	lookup lookupFunc
	append lookupFunc // into memory that is there; only hostwise has it
	most   int        // hosts that it is filled with; more would take minutes
}

// A network is a resolver's way to the nameserver.
type network func(ctx context.Context, network, address string) (net.Conn, error)

// overUDP is the way to a server on a real socket.
func overUDP(addr string) network {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, addr)
	}
}

func newHostwise(tb testing.TB, dial network) (client, *dnscache.Resolver) {
	r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, MaxHosts: 1 << 20, Dial: dial})
	if err != nil {
		tb.Fatal(err)
	}
	return client{
		name: "hostwise",
		most: 1_000_000,
		lookup: func(host string) (int, error) {
			addrs, err := r.LookupNetIP(context.Background(), "ip", host)
			return len(addrs), err
		},
		append: func(host string) (int, error) {
			addrs, err := r.AppendNetIP(context.Background(), make([]netip.Addr, 0, 4), "ip", host)
			return len(addrs), err
		},
	}, r
}

// newNet is the resolver of the standard library, which remembers nothing.
func newNet(dial network) client {
	return client{name: "net", lookup: lookupNetIP(&net.Resolver{PreferGo: true, Dial: dial})}
}

func lookupNetIP(r *net.Resolver) lookupFunc {
	return func(host string) (int, error) {
		addrs, err := r.LookupNetIP(context.Background(), "ip", host)
		return len(addrs), err
	}
}

// newNcruces is ncruces/go-dns: net.Resolver, whose messages are remembered
// for their TTL.
func newNcruces(dial network) client {
	parent := &net.Resolver{PreferGo: true, Dial: dial}
	return client{name: "ncruces", most: 100_000, lookup: lookupNetIP(ncruces.NewCachingResolver(parent, ncruces.MaxCacheEntries(-1)))}
}

// newRS is rs/dnscache: a map of strings without TTL, to be refreshed by its
// owner.
func newRS(resolver rs.DNSResolver) client {
	r := &rs.Resolver{Resolver: resolver}
	return client{name: "rs", most: 1_000_000, lookup: func(host string) (int, error) {
		addrs, err := r.LookupHost(context.Background(), host)
		return len(addrs), err
	}}
}

// inMemory is rs/dnscache's way to a nameserver without a network.
type inMemory struct{}

func (inMemory) LookupHost(context.Context, string) ([]string, error) {
	return []string{netip.IPv6Loopback().String(), netip.AddrFrom4([4]byte{192, 0, 2, 1}).String()}, nil
}

func (inMemory) LookupAddr(context.Context, string) ([]string, error) { return nil, io.EOF }

// inMemoryUDP is hostwise's way to a nameserver without a network.
func inMemoryUDP(context.Context, string, string) (net.Conn, error) {
	c := &datagrams{replies: make(chan []byte, 1<<9), closed: make(chan struct{})}
	c.close = sync.OnceFunc(func() { close(c.closed) })
	return c, nil
}

// datagrams is a connection on which every query is answered at once.
type datagrams struct {
	net.Conn
	replies chan []byte
	closed  chan struct{}
	close   func()
}

func (c *datagrams) Write(b []byte) (int, error) {
	c.replies <- answer(append(make([]byte, 0, len(b)+64), b...), len(b))
	return len(b), nil
}

func (c *datagrams) Read(b []byte) (int, error) {
	select {
	case reply := <-c.replies:
		return copy(b, reply), nil
	case <-c.closed:
		return 0, net.ErrClosed
	}
}

func (c *datagrams) Close() error                    { c.close(); return nil }
func (c *datagrams) LocalAddr() net.Addr             { return &net.UDPAddr{} }
func (c *datagrams) SetReadDeadline(time.Time) error { return nil }

// inMemoryTCP is the way of net.Resolver, and what is made of it.
func inMemoryTCP(context.Context, string, string) (net.Conn, error) { return &messages{}, nil }

// messages is a connection on which every query is answered at once. It is
// no net.PacketConn, so that net.Resolver puts a length in front of each
// message.
type messages struct {
	net.Conn
	replies []byte
}

func (c *messages) Write(b []byte) (int, error) {
	reply := answer(append(make([]byte, 0, len(b)+64), b[2:]...), len(b)-2)
	c.replies = append(binary.BigEndian.AppendUint16(c.replies, uint16(len(reply))), reply...)
	return len(b), nil
}

func (c *messages) Read(b []byte) (int, error) {
	n := copy(b, c.replies)
	c.replies = c.replies[n:]
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (c *messages) Close() error                { return nil }
func (c *messages) SetDeadline(time.Time) error { return nil }
