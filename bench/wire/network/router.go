//go:build linux

package network

import (
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/hostwise-go/hostwise/bench/internal/packet"
	"github.com/hostwise-go/hostwise/bench/wire/record"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

// forEachPacket reads until the device is closed.
func forEachPacket(device io.Reader, f func(now time.Time, data []byte)) {
	buf := make([]byte, 65536)
	for {
		n, err := device.Read(buf)
		if err != nil {
			return
		}
		f(time.Now(), buf[:n])
	}
}

func (n *Network) fromClient(now time.Time, data []byte) {
	h, ok := packet.Parse(data)
	if !ok || isLinkLocal(h.Destination) {
		return
	}
	r := n.current.Load()
	if r == nil { // between two runs: what is left of the one before may end
		_, _ = n.internet.Write(data)
		return
	}
	r.capture.write(now, data)
	path := r.path(h.Destination, h.SourcePort, h.Protocol == packet.TCP, h.OpensConnection())
	p := record.Packet{
		At:         now,
		ToServer:   true,
		Protocol:   h.Protocol,
		Server:     h.Destination,
		ClientPort: h.SourcePort,
		ServerPort: h.DestinationPort,
		Flags:      h.Flags,
		Payload:    h.Payload,
	}
	if h.Protocol == packet.UDP && h.DestinationPort == dnsPort {
		p.Question = questionType(data[len(data)-h.Payload:])
	}
	p.Dropped = path.Fate == scenario.Drop || path.LoseFirstSYN && h.OpensConnection() && r.losesSYN(h.Destination)
	r.addPacket(p)
	switch {
	case p.Dropped:
	case path.Fate == scenario.Deliver:
		_, _ = n.internet.Write(data)
	case path.Fate == scenario.Unreachable:
		router := scenario.Router6
		if h.Source.Is4() {
			router = scenario.Router4
		}
		n.answer(r, h, packet.Unreachable(h, data, router), path.RTT)
	case h.OpensConnection():
		n.answer(r, h, packet.Reset(h), path.RTT)
	}
}

// answer sends an answer to a packet of the client in the server's place. It
// is recorded as a packet of the connection that the client tried to make.
func (n *Network) answer(r *recorder, h packet.Header, data []byte, rtt time.Duration) {
	n.toClient.Put(data, rtt, func(now time.Time) {
		r.capture.write(now, data)
		r.addPacket(record.Packet{
			At:         now,
			Protocol:   h.Protocol,
			Server:     h.Destination,
			ClientPort: h.SourcePort,
			ServerPort: h.DestinationPort,
			Flags:      packet.RST,
		})
	})
}

// fromInternet adds the whole RTT on the way back.
func (n *Network) fromInternet(now time.Time, data []byte) {
	h, ok := packet.Parse(data)
	if !ok || isLinkLocal(h.Destination) {
		return
	}
	r := n.current.Load()
	if r == nil {
		_, _ = n.client.Write(data)
		return
	}
	tcp := h.Protocol == packet.TCP
	path := r.path(h.Source, h.DestinationPort, tcp, false)
	p := record.Packet{
		At:         now,
		Protocol:   h.Protocol,
		Server:     h.Source,
		ClientPort: h.DestinationPort,
		ServerPort: h.SourcePort,
		Flags:      h.Flags,
		Payload:    h.Payload,
	}
	switch {
	case path.Fate != scenario.Deliver, path.LoseData && tcp && h.Payload > 0:
		p.Dropped = true
		r.addPacket(p)
	case path.RTT > 0 && tcp:
		data := slices.Clone(data) // the router's buffer is used again
		n.toClient.Put(data, path.RTT, func(now time.Time) {
			p.At = now
			r.capture.write(now, data)
			r.addPacket(p)
		})
	default:
		r.capture.write(now, data)
		r.addPacket(p)
		_, _ = n.client.Write(data)
	}
}

// isLinkLocal reports whether a packet is for the neighbours only, as those by
// which the kernel looks for routers.
func isLinkLocal(a netip.Addr) bool {
	return a.Is6() && (a.IsMulticast() || a.IsLinkLocalUnicast())
}
