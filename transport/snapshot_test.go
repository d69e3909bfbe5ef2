package transport

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
)

func withBreaker(tb testing.TB, o BreakerOptions) *Transport {
	tb.Helper()
	t, err := New(nil, &Options{Resolver: names{}, Breaker: o})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { t.Close() })
	return t
}

func (t *Transport) snapshot(tb testing.TB) []byte {
	tb.Helper()
	var b bytes.Buffer
	if err := t.SnapshotBreakers(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// fails charges a host.
func (t *Transport) fails(host string, err error, n int) {
	for range n {
		t.breaker.failure(host, time.Now(), err, 7*time.Second, true, nil, 0)
	}
}

var lastErrors = map[string]error{
	"connect.test:80": &hostwise.ConnectError{Host: "connect.test:80", Kind: hostwise.ConnectTimeout},
	"tls.test:443":    &hostwise.TLSError{Host: "tls.test:443", Kind: hostwise.TLSExpired},
	"request.test:80": &hostwise.RequestError{Host: "request.test:80", Kind: hostwise.HTTPEOF, Phase: hostwise.PhaseRequest},
	"status.test:80":  &hostwise.RequestError{Host: "status.test:80", Kind: hostwise.HTTPStatus, Phase: hostwise.PhaseRequest, Err: errors.New("503 Service Unavailable")},
	"proxy.test:3128": &hostwise.ConnectError{Host: "a.test:80", Proxy: "proxy.test:3128", Kind: hostwise.ProxyConnect},
	"foreign.test:80": errors.New("some error"),
}

func TestSnapshotBreakers_DownHostsSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := withBreaker(t, BreakerOptions{HonorRetryAfter: true})
		for host, err := range lastErrors {
			a.fails(host, err, 5)
		}
		a.fails("some.test:80", errDown, 4)
		a.breaker.pause("paused.test:80", time.Now(), time.Now().Add(10*time.Minute), nil)
		a.breaker.pause("both.test:80", time.Now(), time.Now().Add(10*time.Minute), nil)
		a.fails("both.test:80", errDown, 5)
		// One of them has had three cool-downs.
		const doubled = "connect.test:80"
		for range 2 {
			time.Sleep(time.Until(a.breaker.seen(doubled).opens))
			p, _ := a.breaker.allow(doubled, time.Now())
			a.breaker.failure(doubled, time.Now(), lastErrors[doubled], 7*time.Second, true, p, 0)
		}
		snapshot := a.snapshot(t)
		time.Sleep(10 * time.Second)

		b := withBreaker(t, BreakerOptions{HonorRetryAfter: true})
		if err := b.RestoreBreakers(bytes.NewReader(snapshot)); err != nil {
			t.Fatal(err)
		}
		if down, paused := b.breaker.notUp(time.Now()); down != len(lastErrors)+1 || paused != 1 {
			t.Errorf("%d hosts down, %d paused, want %d and 1", down, paused, len(lastErrors)+1)
		}
		for _, host := range []string{"tls.test:443", "request.test:80", "status.test:80", "proxy.test:3128", doubled, "paused.test:80", "both.test:80"} {
			got, want := b.breaker.seen(host), a.breaker.seen(host)
			if last := lastErrors[host]; last != nil && (got.last == nil || hostwise.KindOf(got.last) != hostwise.KindOf(last) || hostwise.PhaseOf(got.last) != hostwise.PhaseOf(last) ||
				host != "proxy.test:3128" && got.last.Error() != last.Error()) {
				t.Errorf("%s: last failure %v, want %v", host, got.last, last)
			}
			got.last, want.last = nil, nil
			for _, s := range []*state{&got, &want} {
				s.since, s.opens = s.since.Truncate(time.Millisecond).Round(0), s.opens.Truncate(time.Millisecond).Round(0)
			}
			if got != want {
				t.Errorf("%s is %+v, want %+v", host, got, want)
			}
		}
		if got := b.breaker.seen("foreign.test:80").last; got != nil {
			t.Errorf("a failure without a Kind has become %v", got)
		}
		// It goes on: the probe, and a cool-down twice as long.
		was := b.breaker.seen(doubled)
		time.Sleep(time.Until(was.opens))
		p, down := b.breaker.allow(doubled, time.Now())
		if p == nil {
			t.Fatalf("no probe after the cool-down: %v", down)
		}
		b.breaker.failure(doubled, time.Now(), errDown, 0, true, p, 0)
		if got := b.breaker.seen(doubled); got.cooldown != 2*was.cooldown || was.cooldown != 2*time.Minute || got.failures != 8 {
			t.Errorf("%+v after %+v, want the cool-down doubled and 8 failures", got, was)
		}
		time.Sleep(time.Until(b.breaker.seen(doubled).opens))
		p, _ = b.breaker.allow(doubled, time.Now())
		b.breaker.success(doubled, p)
		if got := b.breaker.seen(doubled).state; got != StateUp {
			t.Errorf("after a good probe the host is %s", got)
		}
		if s := b.Stats(); s.TimeSaved != 0 {
			t.Errorf("TimeSaved = %v before any request was refused", s.TimeSaved)
		}
		if b.breaker.allow("tls.test:443", time.Now()); b.breaker.seen("tls.test:443").state != StateProbing {
			t.Error("a host whose cool-down is over gets no probe")
		}
	})
}

// What the new process knows, and what its options say, goes first; and time
// passes between the two.
func TestRestoreBreakers_WithinBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := withBreaker(t, BreakerOptions{HonorRetryAfter: true, Cooldown: 10 * time.Hour, MaxCooldown: 100 * time.Hour})
		a.fails("down.test:80", errDown, 5)
		a.breaker.pause("paused.test:80", time.Now(), time.Now().Add(50*time.Hour), nil)
		a.fails(strings.Repeat("x", 600)+".test:80", errDown, 5) // too long a name to be one
		snapshot := a.snapshot(t)
		for _, tt := range []struct {
			name         string
			o            BreakerOptions
			after        time.Duration
			down, paused int
		}{
			{"the same options", BreakerOptions{HonorRetryAfter: true, MaxCooldown: 100 * time.Hour}, 0, 1, 1},
			{"the pause is over", BreakerOptions{HonorRetryAfter: true, MaxCooldown: 100 * time.Hour}, 50 * time.Hour, 1, 0},
			{"an old one", BreakerOptions{HonorRetryAfter: true, MaxCooldown: 20 * time.Hour}, 31 * time.Hour, 0, 1},
			{"no pauses", BreakerOptions{}, 0, 1, 0},
			{"no breaker", BreakerOptions{Disable: true, HonorRetryAfter: true}, 0, 0, 0},
			{"never down", BreakerOptions{Failures: -1, HonorRetryAfter: true}, 0, 0, 1},
		} {
			b := withBreaker(t, tt.o)
			now := time.Now()
			hosts, err := readSnapshot(bytes.NewReader(snapshot), now)
			if err != nil {
				t.Fatal(err)
			}
			for _, h := range hosts {
				b.breaker.restore(h.key, h.hostState, now.Add(tt.after))
			}
			if down, paused := b.breaker.notUp(now.Add(tt.after)); down != tt.down || paused != tt.paused {
				t.Errorf("%s: %d down, %d paused, want %d and %d", tt.name, down, paused, tt.down, tt.paused)
			}
		}

		// A longer cool-down than this process would have.
		b := withBreaker(t, BreakerOptions{HonorRetryAfter: true})
		b.fails("known.test:80", errDown, 1)
		if err := b.RestoreBreakers(bytes.NewReader(snapshot)); err != nil {
			t.Fatal(err)
		}
		for _, host := range []string{"down.test:80", "paused.test:80"} {
			if got := time.Until(b.breaker.seen(host).opens); got != time.Hour {
				t.Errorf("%s: not tried for %v, want MaxCooldown, 1h", host, got)
			}
		}
		c := withBreaker(t, BreakerOptions{HonorRetryAfter: true})
		c.fails("down.test:80", errDown, 1)
		if err := c.RestoreBreakers(bytes.NewReader(snapshot)); err != nil {
			t.Fatal(err)
		}
		if got := c.breaker.seen("down.test:80"); got.state != StateUp || got.failures != 1 {
			t.Errorf("a host that is known has become %+v", got)
		}
	})
}

func TestRestoreBreakers_TellsTheHook(t *testing.T) {
	a := withBreaker(t, BreakerOptions{})
	a.fails("down.test:80", errDown, 5)
	var got []HostChange
	b := withBreaker(t, BreakerOptions{OnChange: func(c HostChange) { got = append(got, c) }})
	if err := b.RestoreBreakers(bytes.NewReader(a.snapshot(t))); err != nil {
		t.Fatal(err)
	}
	if len(got) != 1 || got[0].Host != "down.test:80" || got[0].To != StateDown || got[0].Failures != 5 {
		t.Errorf("changes %+v, want one to down", got)
	}
}

// everyForm is a snapshot with states of every form.
func everyForm(tb testing.TB) []byte {
	a := withBreaker(tb, BreakerOptions{HonorRetryAfter: true})
	for host, err := range lastErrors {
		a.fails(host, err, 5)
	}
	a.breaker.pause("paused.test:80", time.Now(), time.Now().Add(time.Hour), nil)
	return a.snapshot(tb)
}

// resealed is b with the right sum.
func resealed(b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(bytes.Clone(b), sum[:]...)
}

// Whatever is wrong with a snapshot, nothing of it is taken in.
func TestRestoreBreakers_RefusesDamage(t *testing.T) {
	good := everyForm(t)
	b := withBreaker(t, BreakerOptions{HonorRetryAfter: true})
	refused := func(what string, snapshot []byte, say string) {
		t.Helper()
		err := b.RestoreBreakers(bytes.NewReader(snapshot))
		if err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v, want an error that says %q", what, err, say)
		}
		if got := b.breaker.size(); got != 0 {
			t.Fatalf("%s: %d hosts were taken in", what, got)
		}
	}
	for i := range good {
		c := bytes.Clone(good)
		c[i] ^= 0x10
		refused("a changed byte", c, "snapshot")
		refused("cut short", good[:i], "snapshot")
	}
	refused("longer", append(bytes.Clone(good), 0), "damaged")
	refused("nothing", nil, "not a snapshot")
	refused("something else", []byte(`{"hosts": ["a.test", "b.test"]}`), "not a snapshot")
	refused("the cache's", []byte("hostwise dnscache 1\n\x00"), "not a snapshot")
	refused("a version to come", bytes.Replace(good, []byte("breakers 1"), []byte("breakers 2"), 1), "not a snapshot of this version")
	body := good[:len(good)-sha256.Size]
	refused("an entry cut short, with the right sum", resealed(body[:len(body)-1]), "damaged")
	refused("an entry without a name", resealed(append(bytes.Clone(body), make([]byte, 100)...)), "damaged")
	refused("too long a name", resealed(append(bytes.Clone(body), append([]byte{0xff, 0xff}, make([]byte, 70_000)...)...)), "damaged")
	one := fmt.Appendf(nil, "\x00\x04a:80\x00%s", make([]byte, 4+16+32+3))
	refused("too many hosts", resealed(append([]byte(snapshotHeader), bytes.Repeat(one, maxBreakers+1)...)), "larger")
	refused("too large", append([]byte(snapshotHeader), make([]byte, maxSnapshot+1)...), "larger")
	if err := b.RestoreBreakers(iotest.ErrReader(os.ErrDeadlineExceeded)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want the reader's error", err)
	}
	if err := b.SnapshotBreakers(brokenWriter{}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want the writer's error", err)
	}
	if err := b.RestoreBreakers(iotest.OneByteReader(bytes.NewReader(good))); err != nil || b.breaker.size() != len(lastErrors)+1 {
		t.Errorf("%v, %d hosts, want %d", err, b.breaker.size(), len(lastErrors)+1)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

func FuzzRestoreBreakers(f *testing.F) {
	good := everyForm(f)
	f.Add(good[len(snapshotHeader) : len(good)-sha256.Size])
	f.Add([]byte{})
	f.Add(bytes.Repeat([]byte{0xff}, 300))
	f.Fuzz(func(t *testing.T, body []byte) {
		b := &Transport{breaker: newTestBreaker(BreakerOptions{HonorRetryAfter: true})}
		if err := b.RestoreBreakers(bytes.NewReader(body)); err == nil {
			t.Error("what has no header is accepted")
		}
		err := b.RestoreBreakers(bytes.NewReader(resealed(append([]byte(snapshotHeader), body...))))
		now := time.Now()
		for i := range b.breaker.shards {
			for key, h := range b.breaker.shards[i].hosts {
				if err != nil {
					t.Fatalf("%v, but %s was taken in", err, key)
				}
				if at := h.opens(now); at.After(now.Add(time.Hour+time.Minute)) || h.since.After(now) || h.cooldown < 0 || h.cooldown > time.Hour || h.took < 0 {
					t.Errorf("%q is %+v at %v", key, h.hostState, now)
				}
				_ = h.error(key, hostwise.HostDown, now).Error()
			}
		}
		if err != nil {
			return
		}
		// What was taken in is written and read again.
		c := &Transport{breaker: newTestBreaker(BreakerOptions{HonorRetryAfter: true})}
		if err := c.RestoreBreakers(bytes.NewReader(b.snapshot(t))); err != nil {
			t.Errorf("what was restored cannot be restored again: %v", err)
		}
		if down, _ := b.breaker.notUp(now); down > 0 && c.breaker.size() == 0 {
			t.Errorf("of %d hosts down none is left", down)
		}
	})
}
