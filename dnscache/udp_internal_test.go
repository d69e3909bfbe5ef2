package dnscache

import (
	"testing"
	"time"
)

// A socket that takes no more queries is not searched for lost ones at each
// packet of a flood, but they are found.
func TestUDPSocket_LooksForLostQueriesNowAndThen(t *testing.T) {
	now := time.Now()
	u := &udpSocket{inFlight: inFlight{server: &server{}, pending: map[uint16]*query{}, retired: true}}
	for i := range uint16(3) {
		u.pending[i] = &query{sent: now}
	}
	for _, tt := range []struct {
		after, age time.Duration // since the beginning, and of what is lost
		lost       int
		done       bool
	}{
		{0, time.Second, 0, false},
		{lostCheck - 1, 0, 0, false}, // too soon, though they are old enough
		{lostCheck, time.Millisecond, 3, true},
		{lostCheck + 1, time.Millisecond, 0, true},
	} {
		at := now.Add(tt.after)
		done, lost := u.finished(at, at.Add(-tt.age))
		if done != tt.done || len(lost) != tt.lost {
			t.Errorf("after %v: done %v, %d lost, want %v and %d", tt.after, done, len(lost), tt.done, tt.lost)
		}
	}
}
