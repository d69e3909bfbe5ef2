//go:build linux

package internet

import (
	"io"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise/bench/internal/delay"
	"github.com/hostwise-go/hostwise/bench/internal/packet"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

// router carries IP packets between the client's and the internet's device,
// with the delay, the losses and the black holes of each path.
type router struct {
	w                *world.World
	client, internet io.Reader
	toClient         *delay.Queue
	toInternet       *delay.Queue
	v4, v6           []path // by world.Slot

	packets, stray                           atomic.Int64
	syn4, syn6, synRetransmitted, synDropped atomic.Int64

	mu      sync.Mutex // protects lastSYN
	lastSYN map[flow]uint32
}

// path is the way to one address.
type path struct {
	exists    bool
	oneWay    time.Duration
	host      int           // index, or resolverPath
	treatment atomic.Uint32 // a world.Treatment; it changes during a run
	syns      atomic.Uint64
}

const resolverPath = -1

func (p *path) treat(t world.Treatment) { p.treatment.Store(uint32(t)) }

func (p *path) is(t world.Treatment) bool { return world.Treatment(p.treatment.Load()) == t }

// flow is a TCP connection, as far as the client can have two to one port.
type flow struct {
	dst     netip.Addr
	srcPort uint16
}

func newRouter(w *world.World, client, internet io.ReadWriter) *router {
	r := &router{
		w:          w,
		client:     client,
		internet:   internet,
		toClient:   delay.NewQueue(client),
		toInternet: delay.NewQueue(internet),
		v4:         make([]path, world.V4Slots),
		v6:         make([]path, world.V6Slots(len(w.Hosts))),
		lastSYN:    map[flow]uint32{},
	}
	add := func(ip netip.Addr, host int, rtt time.Duration, t world.Treatment) {
		p := r.slot(ip)
		p.exists, p.oneWay, p.host = true, rtt/2, host
		p.treat(t)
	}
	for _, h := range w.Hosts {
		for _, a := range h.V4 {
			add(a.IP, h.Index, h.RTT4, a.Treatment)
		}
		if h.Moved != nil {
			add(h.Moved.IP, h.Index, h.RTT4, h.Moved.Treatment)
		}
		for _, a := range h.V6 {
			add(a.IP, h.Index, h.RTT6, a.Treatment)
		}
	}
	for k, ip := range world.Resolvers {
		rtt := time.Duration(w.Scenario.ResolverRTT[k] * float64(time.Millisecond))
		add(ip, resolverPath, rtt, world.Deliver)
	}
	return r
}

func (r *router) slot(ip netip.Addr) *path {
	table := r.v6
	if ip.Is4() {
		table = r.v4
	}
	if n := world.Slot(ip); n >= 0 && n < len(table) {
		return &table[n]
	}
	return nil
}

// path returns the path to an address, nil if nobody has it.
func (r *router) path(ip netip.Addr) *path {
	if p := r.slot(ip); p != nil && p.exists {
		return p
	}
	return nil
}

// host returns the web server that has an address, or nil.
func (r *router) host(ip netip.Addr) *world.Host {
	if p := r.path(ip); p != nil && p.host != resolverPath {
		return r.w.Hosts[p.host]
	}
	return nil
}

// run carries packets until a device is closed.
func (r *router) run() {
	go r.toInternet.Run()
	go r.toClient.Run()
	go forEachPacket(r.client, r.fromClient)
	forEachPacket(r.internet, r.fromInternet)
}

func forEachPacket(device io.Reader, f func(data []byte)) {
	buf := make([]byte, 65536)
	for {
		n, err := device.Read(buf)
		if err != nil {
			return
		}
		f(buf[:n])
	}
}

func (r *router) fromInternet(data []byte) {
	ip, ok := packet.Parse(data)
	if !ok {
		r.stray.Add(1)
		return
	}
	p := r.path(ip.Source)
	if p == nil {
		r.stray.Add(1)
		return
	}
	if p.is(world.Drop) {
		return
	}
	r.packets.Add(1)
	r.toClient.Put(data, p.oneWay, nil)
}

func (r *router) fromClient(data []byte) {
	ip, ok := packet.Parse(data)
	if !ok {
		r.stray.Add(1)
		return
	}
	p := r.path(ip.Destination)
	if p == nil {
		r.stray.Add(1)
		return
	}
	r.packets.Add(1)
	if p.host != resolverPath && ip.Protocol == packet.TCP {
		if ip.OpensConnection() {
			r.countSYN(ip)
			if n := p.syns.Add(1); p.is(world.Drop) || r.w.LosesSYN(p.host, ip.Destination, n) {
				r.synDropped.Add(1)
				return
			}
		}
		if p.is(world.Reset) {
			if ip.Flags&packet.RST == 0 {
				r.toClient.Put(packet.Reset(ip), 2*p.oneWay, nil)
			}
			return
		}
	}
	if p.is(world.Drop) {
		return
	}
	r.toInternet.Put(data, p.oneWay, nil)
}

// countSYN tells a new connection from the retransmission of a SYN.
func (r *router) countSYN(ip packet.Header) {
	f := flow{ip.Destination, ip.SourcePort}
	r.mu.Lock()
	last, known := r.lastSYN[f]
	r.lastSYN[f] = ip.Sequence
	r.mu.Unlock()
	switch {
	case known && last == ip.Sequence:
		r.synRetransmitted.Add(1)
	case ip.Destination.Is4():
		r.syn4.Add(1)
	default:
		r.syn6.Add(1)
	}
}
