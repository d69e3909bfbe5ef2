package transport

import (
	"net"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// network notices that this machine's addresses have changed: what was
// learned of round trips, hosts and families is then about another network.
// Where the system does not tell, it looks before a dial, now and then.
type network struct {
	checked atomic.Int64           // Unix nanoseconds
	addrs   atomic.Pointer[string] // as of the last look
}

const networkCheck = 5 * time.Second

// changed reports whether the addresses are others than at the last look.
func (n *network) changed(now time.Time) bool {
	last := n.checked.Load()
	if now.UnixNano()-last < int64(networkCheck) || !n.checked.CompareAndSwap(last, now.UnixNano()) {
		return false
	}
	return n.look()
}

// look compares the machine's addresses with those of the last look.
func (n *network) look() bool {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return false
	}
	var texts []string
	for _, a := range list {
		texts = append(texts, a.String())
	}
	slices.Sort(texts)
	now := strings.Join(texts, " ")
	before := n.addrs.Swap(&now)
	return before != nil && *before != now
}
