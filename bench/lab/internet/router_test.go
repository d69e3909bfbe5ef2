//go:build linux

package internet

import (
	"io"
	"net/netip"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise/bench/internal/delay"
	"github.com/hostwise-go/hostwise/bench/internal/packet"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

// device stands in for a TUN device.
type device struct {
	start   time.Time
	in      chan []byte
	written []delivery
	closed  chan struct{}
}

type delivery struct {
	after time.Duration
	data  []byte
}

func newDevice() *device {
	return &device{start: time.Now(), in: make(chan []byte), closed: make(chan struct{})}
}

func (d *device) Read(b []byte) (int, error) {
	select {
	case p := <-d.in:
		return copy(b, p), nil
	case <-d.closed:
		return 0, io.EOF
	}
}

func (d *device) Write(b []byte) (int, error) {
	select {
	case <-d.closed:
		return 0, io.ErrClosedPipe
	default:
	}
	d.written = append(d.written, delivery{time.Since(d.start), slices.Clone(b)})
	return len(b), nil
}

const ms = time.Millisecond

var (
	fromClient = netip.AddrPortFrom(world.ClientV4, 40000)
	aliveHost  = netip.MustParseAddrPort("198.18.4.1:80")
	deadHost   = netip.MustParseAddrPort("198.18.4.9:80")
	refusing   = netip.MustParseAddrPort("198.18.4.17:80")
)

func threeHosts() *world.World {
	host := func(i int, ip netip.AddrPort, rtt time.Duration, t world.Treatment) *world.Host {
		return &world.Host{Index: i, RTT4: rtt, V4: []world.Addr{{IP: ip.Addr(), Treatment: t}}}
	}
	return &world.World{
		Scenario: world.Scenario{ResolverRTT: [2]float64{8, 14}},
		Hosts: []*world.Host{
			host(0, aliveHost, 40*ms, world.Deliver),
			host(1, deadHost, 40*ms, world.Drop),
			host(2, refusing, 30*ms, world.Reset),
		},
	}
}

// routed runs f beside a router and returns what came out at both ends.
func routed(t *testing.T, w *world.World, f func(r *router, client, internet *device)) (r *router, toClient, toInternet []delivery) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		client, internet := newDevice(), newDevice()
		r = newRouter(w, client, internet)
		go r.run()
		f(r, client, internet)
		time.Sleep(time.Second)
		close(client.closed)
		close(internet.closed)
		for _, q := range []*delay.Queue{r.toClient, r.toInternet} {
			q.Close()
		}
		synctest.Wait()
		toClient, toInternet = client.written, internet.written
	})
	return r, toClient, toInternet
}

func TestRouter_EachWayTakesHalfTheRTT(t *testing.T) {
	there := packet.Segment(fromClient, aliveHost, packet.SYN, 1, 0)
	back := packet.Segment(aliveHost, fromClient, packet.SYN|packet.ACK, 9, 0)
	query := packet.Segment(fromClient, netip.AddrPortFrom(world.Resolvers[1], 53), packet.SYN, 1, 0)
	r, toClient, toInternet := routed(t, threeHosts(), func(_ *router, client, internet *device) {
		client.in <- there
		client.in <- query
		time.Sleep(100 * ms)
		internet.in <- back
	})
	if len(toInternet) != 2 || toInternet[0].after != 7*ms || toInternet[1].after != 20*ms || string(toInternet[1].data) != string(there) {
		t.Errorf("to the internet: got %v", toInternet)
	}
	if len(toClient) != 1 || toClient[0].after != 120*ms || string(toClient[0].data) != string(back) {
		t.Errorf("to the client: got %v", toClient)
	}
	if got := r.syn4.Load(); got != 1 {
		t.Errorf("connections: got %d, want 1, that to the name server not counted", got)
	}
}

func TestRouter_DeadHostIsSilentAndRefusingOneResets(t *testing.T) {
	r, toClient, toInternet := routed(t, threeHosts(), func(_ *router, client, internet *device) {
		client.in <- packet.Segment(fromClient, deadHost, packet.SYN, 1, 0)
		client.in <- packet.Segment(fromClient, deadHost, packet.SYN, 1, 0) // the kernel tries again
		client.in <- packet.Segment(fromClient, refusing, packet.SYN, 1, 0)
		client.in <- packet.Segment(fromClient, refusing, packet.RST, 1, 0)                                  // is not answered: RFC 9293, section 3.10.7.1
		client.in <- packet.Segment(fromClient, netip.MustParseAddrPort("203.0.113.1:80"), packet.SYN, 1, 0) // nobody
		internet.in <- packet.Segment(deadHost, fromClient, packet.ACK, 1, 0)                                // cannot be, but is not let through
	})
	if len(toInternet) != 0 {
		t.Errorf("to the internet: got %v, want nothing", toInternet)
	}
	if len(toClient) != 1 || toClient[0].after != 30*ms {
		t.Errorf("to the client: got %v, want one RST after an RTT", toClient)
	}
	if got := r.syn4.Load(); got != 2 {
		t.Errorf("connections: got %d, want 2", got)
	}
	if got := r.synRetransmitted.Load(); got != 1 {
		t.Errorf("retransmitted SYNs: got %d, want 1", got)
	}
	if got := r.synDropped.Load(); got != 2 {
		t.Errorf("dropped SYNs: got %d, want 2", got)
	}
	if got := r.stray.Load(); got != 1 {
		t.Errorf("stray packets: got %d, want 1", got)
	}
}

func TestRouter_LosesTheSYNsOfTheWorld(t *testing.T) {
	w := threeHosts()
	w.Scenario.SynLoss = 0.5
	want := 0
	const tries = 200
	for n := uint64(1); n <= tries; n++ {
		if w.LosesSYN(0, aliveHost.Addr(), n) {
			want++
		}
	}
	if want < tries/3 || want > tries*2/3 {
		t.Fatalf("the world loses %d of %d SYNs", want, tries)
	}
	r, _, toInternet := routed(t, w, func(_ *router, client, _ *device) {
		for seq := range uint32(tries) {
			client.in <- packet.Segment(fromClient, aliveHost, packet.SYN, seq, 0)
			client.in <- packet.Segment(fromClient, aliveHost, packet.ACK, seq, 0) // never lost
		}
	})
	if got := int(r.synDropped.Load()); got != want {
		t.Errorf("dropped SYNs: got %d, want %d", got, want)
	}
	if got := len(toInternet); got != 2*tries-want {
		t.Errorf("delivered: got %d, want %d", got, 2*tries-want)
	}
}
