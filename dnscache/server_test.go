package dnscache

import (
	"net"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(d time.Duration) time.Time { return epoch.Add(d) }

func TestServer_SilenceTakesItOut(t *testing.T) {
	for _, tt := range []struct {
		name        string
		heard, sent time.Duration // negative: never
		down        bool
	}{
		{"never heard", -1, 0, true},
		{"last heard before the query", time.Second, 2 * time.Second, true},
		{"heard since the query", 2 * time.Second, time.Second, false},
		{"heard at the time of the query", time.Second, time.Second, false},
	} {
		s := &server{}
		if tt.heard >= 0 {
			s.heard(at(tt.heard), time.Millisecond)
		}
		s.silent(at(3*time.Second), at(tt.sent))
		if got := s.isDown(); got != tt.down {
			t.Errorf("%s: down = %v, want %v", tt.name, got, tt.down)
		}
	}
}

// A server that is down is asked again 1 s later, 2 s after that, and so on
// up to a minute, until it answers.
func TestServer_ProbesBackOffToAMinute(t *testing.T) {
	s := &server{}
	if s.takeProbe(at(0)) {
		t.Error("a server that is up is probed")
	}
	now := time.Duration(0)
	s.silent(at(now), at(now))
	for _, gap := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60} {
		gap *= time.Second
		if s.takeProbe(at(now + gap - 1)) {
			t.Fatalf("probe less than %v after the last", gap)
		}
		now += gap
		if !s.takeProbe(at(now)) {
			t.Fatalf("no probe %v after the last", gap)
		}
		if s.takeProbe(at(now)) {
			t.Fatal("two probes at a time")
		}
		s.silent(at(now), at(now)) // further silence neither hurries nor delays
	}
	s.heard(at(now), time.Millisecond)
	if s.isDown() || s.takeProbe(at(now+time.Hour)) {
		t.Error("a server that has answered counts as down")
	}
	// The next time it begins at a second again.
	s.silent(at(now+time.Second), at(now+time.Second))
	if s.takeProbe(at(now+2*time.Second-1)) || !s.takeProbe(at(now+2*time.Second)) {
		t.Error("the first probe after a return is not due after a second")
	}
}

// RFC 6298, section 2.
func TestServer_RTTIsSmoothed(t *testing.T) {
	s := &server{}
	for _, tt := range []struct{ rtt, want time.Duration }{
		{80 * time.Millisecond, 80 * time.Millisecond},
		{160 * time.Millisecond, 90 * time.Millisecond},
		{10 * time.Millisecond, 80 * time.Millisecond},
	} {
		s.heard(epoch, tt.rtt)
		if got := s.stats().RTT; got != tt.want {
			t.Errorf("after %v: RTT = %v, want %v", tt.rtt, got, tt.want)
		}
	}
	if got := s.stats().Answered; got != 3 {
		t.Errorf("Answered = %d, want 3", got)
	}
}

func TestSocketPool_Pick(t *testing.T) {
	socket := func(live, served int, expiry time.Duration) *udpSocket {
		conn, _ := net.Pipe()
		return &udpSocket{inFlight: inFlight{live: live, served: served}, conn: conn, expiry: at(expiry)}
	}
	for _, tt := range []struct {
		name string
		open []*udpSocket
		want int // index, or -1
		left int // sockets that still take queries
	}{
		{"none", nil, -1, 0},
		{"the one with the most room", []*udpSocket{socket(3, 3, time.Minute), socket(1, 9, time.Minute), socket(2, 2, time.Minute)}, 1, 3},
		{"not one that 256 wait on", []*udpSocket{socket(256, 256, time.Minute)}, -1, 1},
		{"one with room for one", []*udpSocket{socket(255, 255, time.Minute)}, 0, 1},
		{"not one that has served 4096", []*udpSocket{socket(0, 4096, time.Minute), socket(9, 4095, time.Minute)}, 1, 1},
		{"not one past its time", []*udpSocket{socket(0, 0, time.Second-1), socket(9, 9, time.Second)}, 1, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			p := socketPool{open: append([]*udpSocket(nil), tt.open...)}
			got := slices.Index(tt.open, p.pick(at(time.Second)))
			if got != tt.want {
				t.Errorf("pick = socket %d, want %d", got, tt.want)
			}
			if len(p.open) != tt.left {
				t.Errorf("%d sockets left, want %d", len(p.open), tt.left)
			}
		})
	}
}

// On a machine with 32 bits, too.
func TestConfig_RotatesBeyondTheLargestInt(t *testing.T) {
	c := &config{servers: make([]*server, 3), rotate: new(atomic.Uint32)}
	c.rotate.Store(1<<31 - 1)
	for _, want := range []int{1, 2, 0, 1} {
		if got := c.firstServer(); got != want {
			t.Errorf("firstServer = %d, want %d", got, want)
		}
	}
}

// What nobody waits for takes no room on a socket, and none in the queue.
func TestQuery_AbandonMakesRoom(t *testing.T) {
	s := &server{}
	u := &udpSocket{inFlight: newInFlight(s), expiry: at(time.Minute)}
	s.pool.open = []*udpSocket{u}
	message := appendQuery(nil, "a.test", v4, queryForm{edns: true})
	var sent, waiting []*query
	for range maxInFlight {
		q := &query{server: s, message: message}
		u.register(q)
		sent = append(sent, q)
	}
	for range 100 {
		waiting = append(waiting, &query{server: s, message: message})
	}
	s.pool.waiting = slices.Clone(waiting)
	if s.pool.pick(at(0)) != nil {
		t.Fatal("there is room on a full socket")
	}
	sent[0].abandon()
	sent[0].abandon()
	if s.pool.pick(at(0)) != u || u.live != maxInFlight-1 {
		t.Errorf("%d live queries, want one less than %d", u.live, maxInFlight)
	}
	if len(u.pending) != maxInFlight {
		t.Error("a late reply would be taken for a forgery")
	}
	u.remove(sent[0])
	u.remove(sent[0])
	if u.live != maxInFlight-1 || len(u.pending) != maxInFlight-1 {
		t.Errorf("%d live and %d pending queries after the late reply, want %d", u.live, len(u.pending), maxInFlight-1)
	}
	u.remove(sent[1])
	if u.live != maxInFlight-2 {
		t.Errorf("%d live queries after a reply, want %d", u.live, maxInFlight-2)
	}
	for i, q := range waiting {
		q.abandon()
		if left := len(waiting) - i - 1; len(s.pool.waiting) > max(2*left+1, 1) {
			t.Fatalf("%d in the queue, %d of which somebody waits for", len(s.pool.waiting), left)
		}
	}
	if len(s.pool.waiting) != 0 {
		t.Errorf("%d left in the queue, want none", len(s.pool.waiting))
	}
}
