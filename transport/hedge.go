package transport

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise/internal/happyeyeballs"
)

// hedges lets one dial at a time to a host:port begin another attempt while
// its first may still succeed: dials at the same time would all learn the
// same. The others wait for what becomes of it.
type hedges struct {
	mu    sync.Mutex // protects what follows
	hosts map[string][]*mailbox
}

// begin reports whether it is the dial's turn. If it is not, m gets a hedge
// event when the one whose turn it is has ended.
func (h *hedges) begin(host string, m *mailbox) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	waiting, busy := h.hosts[host]
	if busy {
		h.hosts[host] = append(waiting, m)
		return false
	}
	h.hosts[host] = nil
	return true
}

// end tells those who wait what has won by the hedge, if anything has. Then it
// is no guess any more, and all of them may do the same.
func (h *hedges) end(host string, winner netip.Addr) {
	h.mu.Lock()
	waiting := h.hosts[host]
	delete(h.hosts, host)
	h.mu.Unlock()
	for _, m := range waiting {
		m.post(&event{hedge: true, addr: netip.AddrPortFrom(winner, 0)})
	}
}

// hedgeBudget is the safety net: as many hedges as a tenth of the dials, and
// 20. Beyond, an attempt has a second before the next one begins, for then
// the kernel repeats its SYN anyway.
type hedgeBudget struct{ dials, hedges atomic.Int64 }

const (
	hedgeShare = 10
	hedgeBurst = 20
	hedgeSpan  = 1000 // dials, after which what was counts half
	overBudget = time.Second
)

// dial counts a dial.
func (b *hedgeBudget) dial() {
	if b.dials.Add(1)%hedgeSpan == 0 {
		b.dials.Add(-hedgeSpan / 2)
		b.hedges.Store(b.hedges.Load() / 2)
	}
}

func (b *hedgeBudget) isSpent() bool { return b.hedges.Load() >= hedgeBurst+b.dials.Load()/hedgeShare }

// attemptDelay is how long an attempt has before the next one begins, and
// why.
func (t *Transport) attemptDelay(a netip.Addr, now time.Time) (d time.Duration, from happyeyeballs.Source) {
	switch {
	case t.opt.ConnectionAttemptDelay > 0:
		d, from = t.opt.ConnectionAttemptDelay, fromOption
	case t.opt.DisableMemory:
		d, from = happyeyeballs.ConnectionAttemptDelay, happyeyeballs.FromDefault
	default:
		d, from = t.history.Delay(a, now)
	}
	if from != fromOption && t.budget.isSpent() && d < overBudget {
		return overBudget, fromBudget
	}
	return d, from
}

const (
	fromOption happyeyeballs.Source = "option" // Options.ConnectionAttemptDelay
	fromBudget happyeyeballs.Source = "budget" // too many hedges lately
)
