//go:build linux

package network

import (
	"io"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise/bench/internal/delay"
	"github.com/hostwise-go/hostwise/bench/internal/packet"
	"github.com/hostwise-go/hostwise/bench/wire/record"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

const ms = time.Millisecond

// device stands in for a TUN device.
type device struct {
	start time.Time

	mu      sync.Mutex // protects written
	written []delivery
}

type delivery struct {
	after time.Duration
	data  string
}

func (d *device) Read([]byte) (int, error) { return 0, io.EOF }
func (d *device) Close() error             { return nil }

func (d *device) Write(b []byte) (int, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.written = append(d.written, delivery{time.Since(d.start), string(b)})
	return len(b), nil
}

var (
	client4 = netip.AddrPortFrom(scenario.ClientV4.Addr(), 40000)
	client6 = netip.AddrPortFrom(scenario.ClientV6.Addr(), 40000)
	server4 = netip.AddrPortFrom(scenario.Server(4, 0), 80)
	server6 = netip.AddrPortFrom(scenario.Server(6, 0), 80)
)

// routed runs f beside a network in which IPv6 has a path, and returns what
// came out at both ends, and the record.
func routed(t *testing.T, v6 scenario.Path, f func(n *Network)) (toClient, toInternet []delivery, run record.Run) {
	t.Helper()
	synctest.Test(t, func(*testing.T) {
		client, internet := &device{start: time.Now()}, &device{start: time.Now()}
		n := &Network{client: client, internet: internet, toClient: delay.NewQueue(client)}
		go n.toClient.Run()
		r := newRecorder(&scenario.Scenario{Network: func(family, _, served int) scenario.Path {
			if family == 6 && served == 0 {
				return v6
			}
			return scenario.Path{}
		}}, "1a2b", nil)
		n.current.Store(r)
		f(n)
		time.Sleep(time.Second)
		n.toClient.Close()
		synctest.Wait()
		toClient, toInternet = client.written, internet.written
		r.copyTo(&run)
	})
	return toClient, toInternet, run
}

func (n *Network) outgoing(b []byte) { n.fromClient(time.Now(), slices.Clone(b)) }
func (n *Network) incoming(b []byte) { n.fromInternet(time.Now(), slices.Clone(b)) }

func TestRouter_DelaysTheWayBackOnly(t *testing.T) {
	syn := packet.Segment(client6, server6, packet.SYN, 1, 0)
	back := packet.Segment(server6, client6, packet.SYN|packet.ACK, 9, 2)
	toClient, toInternet, run := routed(t, scenario.Path{RTT: 40 * ms}, func(n *Network) {
		n.outgoing(syn)
		n.incoming(back)
	})
	if want := []delivery{{0, string(syn)}}; !slices.Equal(toInternet, want) {
		t.Errorf("to the internet: got %v, want the SYN at once", toInternet)
	}
	if want := []delivery{{40 * ms, string(back)}}; !slices.Equal(toClient, want) {
		t.Errorf("to the client: got %v, want the answer after 40 ms", toClient)
	}
	if len(run.Packets) != 2 || run.Packets[1].At.Sub(run.Packets[0].At) != 40*ms || run.Packets[1].ClientPort != client6.Port() {
		t.Errorf("got %+v", run.Packets)
	}
}

func TestRouter_Fates(t *testing.T) {
	syn := packet.Segment(client6, server6, packet.SYN, 1, 0)
	ack := packet.Segment(client6, server6, packet.ACK, 2, 1)
	answers := map[string]byte{"RST": packet.TCP, "ICMP": packet.ICMPv6}
	for _, tt := range []struct {
		path      scenario.Path
		answers   []string
		delivered int
		dropped   int
	}{
		{scenario.Path{Fate: scenario.Drop}, nil, 0, 3},
		{scenario.Path{Fate: scenario.Reset, RTT: 50 * ms}, []string{"RST", "RST"}, 0, 0},
		{scenario.Path{Fate: scenario.Unreachable, RTT: 50 * ms}, []string{"ICMP", "ICMP", "ICMP"}, 0, 0},
		{scenario.Path{LoseFirstSYN: true}, nil, 2, 1},
		{scenario.Path{}, nil, 3, 0},
	} {
		toClient, toInternet, run := routed(t, tt.path, func(n *Network) {
			n.outgoing(syn)
			n.outgoing(syn)
			n.outgoing(ack)
		})
		if len(toInternet) != tt.delivered {
			t.Errorf("%+v: to the internet: got %d, want %d", tt.path, len(toInternet), tt.delivered)
		}
		if len(toClient) != len(tt.answers) {
			t.Errorf("%+v: answers: got %d, want %v", tt.path, len(toClient), tt.answers)
			continue
		}
		for i, a := range tt.answers {
			h, _ := packet.Parse([]byte(toClient[i].data))
			if h.Protocol != answers[a] || toClient[i].after != tt.path.RTT {
				t.Errorf("%+v: got %+v after %v, want %s", tt.path, h, toClient[i].after, a)
			}
		}
		dropped := 0
		for _, p := range run.Packets {
			if p.Dropped {
				dropped++
			}
		}
		if dropped != tt.dropped || len(run.Packets) != 3+len(tt.answers) {
			t.Errorf("%+v: recorded: got %d, %d of them dropped; want %d dropped", tt.path, len(run.Packets), dropped, tt.dropped)
		}
	}
}

func TestRouter_LosesDataButNotTheHandshake(t *testing.T) {
	toClient, _, run := routed(t, scenario.Path{LoseData: true}, func(n *Network) {
		n.incoming(packet.Segment(server6, client6, packet.SYN|packet.ACK, 9, 2))
		n.incoming(append(packet.Segment(server6, client6, packet.ACK, 9, 2), "data"...))
		n.incoming(append(packet.Segment(server4, client4, packet.ACK, 9, 2), "data"...))
	})
	if len(toClient) != 2 || len(run.Packets) != 3 || !run.Packets[1].Dropped {
		t.Errorf("got %d packets, recorded %+v", len(toClient), run.Packets)
	}
}

func TestRouter_AConnectionKeepsThePathOfItsSYN(t *testing.T) {
	other := netip.AddrPortFrom(client6.Addr(), 40001)
	toClient, _, _ := routed(t, scenario.Path{RTT: 100 * ms}, func(n *Network) {
		n.outgoing(packet.Segment(client6, server6, packet.SYN, 1, 0))
		n.current.Load().addRequest(record.Request{}) // now IPv6 is near
		n.outgoing(packet.Segment(other, server6, packet.SYN, 1, 0))
		n.incoming(packet.Segment(server6, client6, packet.SYN|packet.ACK, 1, 2))
		n.incoming(packet.Segment(server6, other, packet.SYN|packet.ACK, 1, 2))
	})
	if len(toClient) != 2 || toClient[0].after != 0 || toClient[1].after != 100*ms {
		t.Errorf("got %v, want the second connection's answer at once and the first one's after 100 ms", toClient)
	}
}

func TestRouter_NothingReachesADeadNameserver(t *testing.T) {
	query := packet.Segment(client4, netip.AddrPortFrom(scenario.DeadNameserver4, 53), packet.SYN, 1, 0)
	_, toInternet, run := routed(t, scenario.Path{}, func(n *Network) { n.outgoing(query) })
	if len(toInternet) != 0 || len(run.Packets) != 1 || !run.Packets[0].Dropped {
		t.Errorf("got %v, recorded %+v", toInternet, run.Packets)
	}
}

func TestRouter_BetweenRunsLetsAllThrough(t *testing.T) {
	_, toInternet, run := routed(t, scenario.Path{Fate: scenario.Drop}, func(n *Network) {
		n.current.Store(nil)
		n.outgoing(packet.Segment(client6, server6, packet.ACK|packet.FIN, 1, 0))
		n.outgoing(packet.Segment(client6, netip.MustParseAddrPort("[ff02::2]:1"), packet.SYN, 1, 0)) // for the neighbours
	})
	if len(toInternet) != 1 || len(run.Packets) != 0 {
		t.Errorf("got %v, recorded %+v", toInternet, run.Packets)
	}
}
