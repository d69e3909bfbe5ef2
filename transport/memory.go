package transport

import (
	"net/netip"
	"sync"
	"time"

	"github.com/hostwise-go/hostwise/internal/happyeyeballs"
)

const (
	maxRemembered = 65536            // hosts
	familyMemory  = 10 * time.Minute // how long the family that lost comes second
)

// memory knows which hosts have been reached, and how.
type memory struct {
	mu    sync.RWMutex // protects what follows
	hosts map[string]hostMemory
}

type hostMemory struct {
	winner netip.Addr           // the last address that was reached
	prefer happyeyeballs.Family // until the time below
	until  time.Time
}

func newMemory() *memory { return &memory{hosts: map[string]hostMemory{}} }

// recall returns what is known of a host; the zero value if nothing is.
func (m *memory) recall(key string, now time.Time) hostMemory {
	m.mu.RLock()
	h := m.hosts[key]
	m.mu.RUnlock()
	if !now.Before(h.until) {
		h.prefer = happyeyeballs.IPv6
	}
	return h
}

// answered reports whether the host has ever been reached, as far as that is
// remembered.
func (m *memory) answered(key string) bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	_, ok := m.hosts[key]
	return ok
}

// won records that winner was reached. If IPv6 was tried and IPv4 won, IPv6
// comes second for a while; an IPv6 winner is preferred again.
func (m *memory) won(key string, winner netip.Addr, tried [2]bool, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	h, known := m.hosts[key]
	if !known && len(m.hosts) >= maxRemembered {
		for other := range m.hosts { // any will do
			delete(m.hosts, other)
			break
		}
	}
	h.winner = winner
	switch f := happyeyeballs.Of(winner); {
	case f == happyeyeballs.IPv6:
		h.prefer, h.until = happyeyeballs.IPv6, time.Time{}
	case tried[happyeyeballs.IPv6]:
		h.prefer, h.until = happyeyeballs.IPv4, now.Add(familyMemory)
	}
	m.hosts[key] = h
}
