package simnet

import (
	"net/netip"
	"time"
)

// Stats counts what happened on a network.
type Stats struct {
	// Open is the number of TCP connections that were dialled, established
	// and not yet closed by the dialler.
	Open int
	// PeakOpen is the greatest value Open has had.
	PeakOpen int
	// OpenUDP is the number of dialled UDP sockets that are not yet closed.
	OpenUDP int
	// Filtered is the number of datagrams that a connected UDP socket did not
	// receive because they did not come from its peer.
	Filtered int
	// Hosts has the counts for each destination address.
	Hosts map[netip.Addr]HostStats
}

// HostStats counts what was sent to one address.
type HostStats struct {
	// Dials is the number of TCP dials begun.
	Dials int
	// SYNs is the number of SYNs sent, retransmissions included.
	SYNs int
	// Established is the number of TCP dials that were established.
	Established int
	// Canceled is the number of TCP dials given up by their context, canceled
	// or past its deadline, before they were established.
	Canceled int
	// Datagrams is the number of datagrams sent, lost ones included.
	Datagrams int
}

// A Dial is an entry in the log of TCP dials.
type Dial struct {
	// Addr is the address dialled.
	Addr netip.AddrPort
	// At is the time at which the dial began.
	At time.Time
	// End is the time at which it was established, failed or was given up,
	// or zero if it is under way.
	End time.Time
	// Err is the error it ended with, or nil if it was established or is
	// under way.
	Err error
}

// Stats returns the counts up to now.
func (n *Network) Stats() Stats {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := n.stats
	s.Hosts = make(map[netip.Addr]HostStats, len(n.hosts))
	for addr, h := range n.hosts {
		s.Hosts[addr] = *h
	}
	return s
}

// Dials returns the log of TCP dials, in the order in which they began.
func (n *Network) Dials() []Dial {
	n.mu.Lock()
	defer n.mu.Unlock()
	log := make([]Dial, len(n.dials))
	for i, d := range n.dials {
		log[i] = *d
	}
	return log
}

// hostLocked returns the counts of addr. The caller holds n.mu.
func (n *Network) hostLocked(addr netip.Addr) *HostStats {
	h := n.hosts[addr]
	if h == nil {
		h = new(HostStats)
		n.hosts[addr] = h
	}
	return h
}

// beginDial logs a TCP dial to ap.
func (n *Network) beginDial(ap netip.AddrPort) *Dial {
	n.mu.Lock()
	defer n.mu.Unlock()
	d := &Dial{Addr: ap, At: time.Now()}
	n.dials = append(n.dials, d)
	n.hostLocked(ap.Addr()).Dials++
	return d
}

// endDial logs the outcome of d.
func (n *Network) endDial(d *Dial, err error, canceled bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	d.End, d.Err = time.Now(), err
	h := n.hostLocked(d.Addr.Addr())
	switch {
	case canceled:
		h.Canceled++
	case err == nil:
		h.Established++
		n.stats.Open++
		n.stats.PeakOpen = max(n.stats.PeakOpen, n.stats.Open)
	}
}
