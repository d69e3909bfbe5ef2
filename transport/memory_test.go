package transport

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/internal/happyeyeballs"
)

var (
	addr4 = netip.MustParseAddr("192.0.2.1")
	addr6 = netip.MustParseAddr("2001:db8::1")
	epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

func TestMemory(t *testing.T) {
	both, only4 := [2]bool{true, true}, [2]bool{happyeyeballs.IPv4: true}
	type win struct {
		at     time.Duration
		winner netip.Addr
		tried  [2]bool
	}
	for _, tt := range []struct {
		name   string
		wins   []win
		at     time.Duration
		prefer happyeyeballs.Family
		winner netip.Addr
	}{
		{"nothing is known", nil, 0, happyeyeballs.IPv6, netip.Addr{}},
		{"IPv4 won over IPv6", []win{{0, addr4, both}}, 10*time.Minute - 1, happyeyeballs.IPv4, addr4},
		{"ten minutes ago", []win{{0, addr4, both}}, 10 * time.Minute, happyeyeballs.IPv6, addr4},
		{"IPv4 won, IPv6 was not tried", []win{{0, addr4, only4}}, 0, happyeyeballs.IPv6, addr4},
		{"IPv6 won", []win{{0, addr6, both}}, 0, happyeyeballs.IPv6, addr6},
		{"IPv6 won afterwards", []win{{0, addr4, both}, {time.Minute, addr6, both}}, 2 * time.Minute, happyeyeballs.IPv6, addr6},
		{"IPv4 won again", []win{{0, addr4, both}, {9 * time.Minute, addr4, both}}, 18 * time.Minute, happyeyeballs.IPv4, addr4},
		{"IPv4 won again, IPv6 was not tried: no new term", []win{{0, addr4, both}, {9 * time.Minute, addr4, only4}}, 10 * time.Minute, happyeyeballs.IPv6, addr4},
		{"the same, within the term", []win{{0, addr4, both}, {9 * time.Minute, addr4, only4}}, 10*time.Minute - 1, happyeyeballs.IPv4, addr4},
	} {
		m := newMemory()
		for _, w := range tt.wins {
			m.won(host, w.winner, w.tried, epoch.Add(w.at))
		}
		if got := m.recall(host, epoch.Add(tt.at)); got.prefer != tt.prefer || got.winner != tt.winner {
			t.Errorf("%s: %v first, %v, want %v first, %v", tt.name, got.prefer, got.winner, tt.prefer, tt.winner)
		}
		if got, want := m.answered(host), len(tt.wins) > 0; got != want {
			t.Errorf("%s: answered = %v, want %v", tt.name, got, want)
		}
		if m.answered("other.test:443") {
			t.Errorf("%s: another host has answered too", tt.name)
		}
	}
}

func TestMemory_IsBounded(t *testing.T) {
	m := newMemory()
	for i := range 70_000 {
		m.won(fmt.Sprintf("h%d.test:443", i), addr4, [2]bool{}, epoch)
	}
	if got := len(m.hosts); got != 65536 {
		t.Errorf("%d hosts, want 65536", got)
	}
	if !m.answered("h69999.test:443") {
		t.Error("the latest host was not taken in")
	}
}
