package transport

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/hook"
	"github.com/sony/gobreaker/v2"
)

// A breakerTest drives a breaker for one host. It lives in a bubble, since
// gobreaker looks at the clock by itself; all times are explicit.
type breakerTest struct {
	*testing.T
	*breaker
}

const host = "a.test:443"

var errDown = errors.New("refused")

func newTestBreaker(o BreakerOptions) *breaker {
	if err := o.setDefaults(); err != nil {
		panic(err)
	}
	return newBreaker(o, new(hook.Group))
}

func inBreaker(t *testing.T, f func(b *breakerTest)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(&breakerTest{t, newTestBreaker(BreakerOptions{})}) })
}

// trip fails as often as it takes and returns the time of retry.
func (b *breakerTest) trip(answered bool) time.Time {
	b.Helper()
	for range 10 {
		if b.fail(answered, nil) {
			return b.down().RetryAt
		}
	}
	b.Fatal("the breaker does not trip")
	return time.Time{}
}

func (b *breakerTest) fail(answered bool, p *permit) (tripped bool) {
	return b.failure(host, time.Now(), errDown, 0, answered, p, 0)
}

// down checks that the host is down and returns the error.
func (b *breakerTest) down() *hostwise.HostDownError {
	b.Helper()
	p, down := b.allow(host, time.Now())
	if down == nil || p != nil {
		b.Fatalf("a request is let through %v after the start", time.Now())
	}
	return down
}

// probe checks that one request is let through with a permit.
func (b *breakerTest) probe() *permit {
	b.Helper()
	p, down := b.allow(host, time.Now())
	if down != nil || p == nil {
		b.Fatalf("no probe at %v: %v", time.Now(), down)
	}
	return p
}

// up checks that requests are let through without a permit.
func (b *breakerTest) up() {
	b.Helper()
	if p, down := b.allow(host, time.Now()); p != nil || down != nil {
		b.Errorf("allow = %v, %v, want an open way", p, down)
	}
}

func TestBreaker_TripsAfterFailuresInARow(t *testing.T) {
	for _, tt := range []struct {
		answered bool
		limit    int
	}{{true, 5}, {false, 3}} {
		inBreaker(t, func(b *breakerTest) {
			for range tt.limit - 1 {
				if b.fail(tt.answered, nil) {
					t.Fatal("tripped too early")
				}
				b.up()
				time.Sleep(time.Hour) // no window: failures in a row count, however far apart
			}
			if !b.fail(tt.answered, nil) {
				t.Fatalf("not tripped after %d failures", tt.limit)
			}
			e := b.down()
			if e.Host != host || e.Kind != hostwise.HostDown || !e.Since.Equal(time.Now()) || e.Failures != tt.limit || e.Last != errDown || !errors.Is(e, gobreaker.ErrOpenState) {
				t.Errorf("error = %#v, want %d failures of %s since now, ErrOpenState", e, tt.limit, host)
			}
		})
	}
}

func TestBreaker_SuccessForgets(t *testing.T) {
	inBreaker(t, func(b *breakerTest) {
		for range 20 {
			for range 4 {
				b.fail(true, nil)
			}
			b.success(host, nil)
		}
		b.up()
		if got := b.size(); got != 0 {
			t.Errorf("%d entries for a healthy host", got)
		}
	})
}

func (b *breaker) get(key string) *hostBreaker { return b.shard(key).hosts[key] }

// down is the number of hosts that are.
func (b *breaker) down() int {
	n, _ := b.notUp(time.Now())
	return n
}

func (b *breaker) size() (n int) {
	for i := range b.shards {
		n += len(b.shards[i].hosts)
	}
	return n
}

// 30 s, doubling to an hour, each a tenth longer or shorter.
func TestBreaker_CoolDownDoubles(t *testing.T) {
	var first []time.Duration
	for range 50 {
		inBreaker(t, func(b *breakerTest) {
			retryAt := b.trip(false)
			first = append(first, time.Until(retryAt))
			for _, want := range []time.Duration{30, 60, 120, 240, 480, 960, 1920, 3600, 3600} {
				want *= time.Second
				got := time.Until(retryAt)
				if most := min(want+want/10, time.Hour); got < want-want/10 || got > most {
					t.Fatalf("cool-down of %v, want %v ± 10 %%, at most an hour", got, want)
				}
				time.Sleep(got - 1)
				b.down()
				time.Sleep(time.Nanosecond)
				if !b.fail(false, b.probe()) {
					t.Fatal("a failed probe does not keep the breaker open")
				}
				retryAt = b.down().RetryAt
			}
		})
	}
	least, most := first[0], first[0]
	for _, d := range first {
		least, most = min(least, d), max(most, d)
	}
	if most-least < 2*time.Second {
		t.Errorf("fifty hosts cool down between %v and %v: no jitter", least, most)
	}
}

func TestBreaker_OneProbe(t *testing.T) {
	inBreaker(t, func(b *breakerTest) {
		since := time.Now()
		time.Sleep(time.Until(b.trip(false)))
		p := b.probe()
		e := b.down()                                                    // a second one, while the first is on its way
		if want := time.Now().Add(time.Second); !e.RetryAt.Equal(want) { // the first may be answered any moment
			t.Errorf("RetryAt = %v, want a second from now, %v", e.RetryAt, want)
		}
		if !e.Since.Equal(since) {
			t.Errorf("Since = %v, want %v", e.Since, since)
		}
		b.success(host, p)
		b.up()
		if b.breaker.down() != 0 || b.size() != 0 {
			t.Errorf("%d open, %d entries after a success", b.breaker.down(), b.size())
		}
		// It has to fail as often as a new host before it trips again.
		if got := time.Until(b.trip(false)); got > 33*time.Second {
			t.Errorf("cool-down of %v after a recovery, want 30s again", got)
		}
	})
}

// A probe that nobody reports on does not block the host for ever.
func TestBreaker_ProbeExpiresAfterAMinute(t *testing.T) {
	inBreaker(t, func(b *breakerTest) {
		time.Sleep(time.Until(b.trip(false)))
		lost := b.probe()
		time.Sleep(time.Minute - 1)
		if got := time.Until(b.down().RetryAt); got != 1 {
			t.Errorf("RetryAt is %v away, want 1ns, when the probe expires", got)
		}
		time.Sleep(time.Nanosecond)
		second := b.probe()
		// The lost one turns up: it has no say any more.
		if b.fail(false, lost) {
			t.Error("the expired probe's failure trips the breaker again")
		}
		b.release(lost)
		if got, want := b.down().RetryAt, time.Now().Add(time.Second); !got.Equal(want) {
			t.Errorf("RetryAt = %v, want a second from now, %v", got, want)
		}
		if !b.fail(false, second) {
			t.Error("the second probe's failure is not heard")
		}
		time.Sleep(time.Until(b.down().RetryAt))
		b.success(host, b.probe())
		b.up()
	})
}

// A probe that was canceled, say, says nothing: the next may go at once.
func TestBreaker_ReleasedProbe(t *testing.T) {
	inBreaker(t, func(b *breakerTest) {
		b.release(nil)
		time.Sleep(time.Until(b.trip(false)))
		for range 5 {
			p := b.probe()
			b.down()
			b.release(p)
			b.release(p) // once only
		}
		cooldown := b.get(host).cooldown
		b.fail(false, b.probe())
		if got := b.get(host).cooldown; got != 2*cooldown {
			t.Errorf("cool-down of %v after %v, want it doubled once", got, cooldown)
		}
	})
}

// Requests begun before the breaker tripped come back with failures later:
// they neither extend the cool-down nor count as the probe.
func TestBreaker_LateFailuresDoNotExtend(t *testing.T) {
	inBreaker(t, func(b *breakerTest) {
		retryAt := b.trip(true)
		for range 60 {
			if b.fail(true, nil) {
				t.Error("a late failure trips the breaker again")
			}
			if got := b.down().RetryAt; !got.Equal(retryAt) {
				t.Fatalf("RetryAt = %v, want %v", got, retryAt)
			}
		}
		if got := b.down().Failures; got != 65 {
			t.Errorf("Failures = %d, want 65", got)
		}
		time.Sleep(time.Until(retryAt))
		p := b.probe()
		b.fail(true, nil)
		b.down()
		b.success(host, p)
		b.up()
	})
}

// A success of a request begun before the trip counts: the host answers.
func TestBreaker_LateSuccessCloses(t *testing.T) {
	inBreaker(t, func(b *breakerTest) {
		b.trip(true)
		b.success(host, nil)
		b.up()
		// Nor does a probe from before that charge the new state.
		time.Sleep(time.Until(b.trip(true)))
		p := b.probe()
		b.success(host, nil)
		b.fail(true, p)
		b.up()
	})
}

func TestBreaker_RefusesThoseWhoWait(t *testing.T) {
	inBreaker(t, func(b *breakerTest) {
		if down := b.refuses(host, time.Now()); down != nil {
			t.Errorf("a healthy host is refused: %v", down)
		}
		b.fail(true, nil)
		if down := b.refuses(host, time.Now()); down != nil {
			t.Errorf("a host that failed once is refused: %v", down)
		}
		retryAt := b.trip(true)
		if down := b.refuses(host, time.Now()); down == nil || !down.RetryAt.Equal(retryAt) {
			t.Errorf("refuses = %v, want until %v", down, retryAt)
		}
		time.Sleep(time.Until(retryAt))
		if down := b.refuses(host, time.Now()); down != nil {
			t.Errorf("after the cool-down: %v", down)
		}
		b.probe() // refuses has not taken the probe
	})
}

func TestBreaker_KeysAreApart(t *testing.T) {
	inBreaker(t, func(b *breakerTest) {
		b.trip(false)
		for _, other := range []string{"a.test:80", "b.test:443"} {
			if p, down := b.allow(other, time.Now()); p != nil || down != nil {
				t.Errorf("%s is down with %s", other, host)
			}
		}
	})
}

// A dial's error, with all that belongs to it, for a host of its own.
func dialError(host string) error {
	addr := netip.MustParseAddrPort("192.0.2.1:443")
	return &hostwise.ConnectError{Host: host, Kind: hostwise.ConnectRefused, Attempts: []hostwise.Attempt{{
		Addr: addr, Phase: hostwise.PhaseConnect,
		Err: &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(addr), Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
	}}}
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A million hosts fail, once each or until they are down, each with an error of
// its own: memory is bounded.
func TestBreaker_MemoryOfAMillionHosts(t *testing.T) {
	if withRaceDetector() {
		t.Skip("takes a minute with the race detector, which changes what is measured")
	}
	for _, tt := range []struct {
		hosts, failures int
		most            int64 // MB
	}{{1_000_000, 1, 32}, {1_000_000, 3, 32}} {
		before := heap()
		b := newTestBreaker(BreakerOptions{})
		now := time.Now()
		for i := range tt.hosts {
			host := fmt.Sprintf("www.host-%d.example.com:443", i)
			err := dialError(host)
			for range tt.failures {
				b.failure(host, now, err, time.Second, false, nil, 0)
			}
		}
		used := heap() - before
		t.Logf("%d hosts that failed %d times: %d entries, %.1f MB, %d bytes each", tt.hosts, tt.failures, b.size(), float64(used)/1e6, used/int64(b.size()))
		if used > tt.most<<20 {
			t.Errorf("%.1f MB, want %d at most", float64(used)/1e6, tt.most)
		}
		runtime.KeepAlive(b)
	}
}

// What has failed but is not down makes room first, the oldest before others;
// then the hosts that have been down for the longest time.
func TestBreaker_TableIsBounded(t *testing.T) {
	const tripped, failing = 1000, 100_000
	b := newTestBreaker(BreakerOptions{})
	now := time.Now()
	fail := func(format string, i, n int) {
		for range n {
			b.failure(fmt.Sprintf(format, i), now, errDown, 0, false, nil, 0)
		}
	}
	for i := range tripped {
		fail("down%d.test:443", i, 3)
	}
	for i := range failing {
		fail("h%d.test:443", i, 1)
	}
	if got := b.size(); got != maxBreakers {
		t.Errorf("%d entries, want %d", got, maxBreakers)
	}
	if got := b.down(); got != tripped {
		t.Errorf("%d of %d hosts are still down", got, tripped)
	}
	known := 0
	for i := failing - maxBreakers/2; i < failing; i++ {
		known += b.failures(b.of(fmt.Sprintf("h%d.test:443", i)))
	}
	if known != maxBreakers/2 {
		t.Errorf("of the latest %d failures %d are known", maxBreakers/2, known)
	}
	for i := range failing {
		fail("other%d.test:443", i, 3)
	}
	if size, down := b.size(), b.down(); size != maxBreakers || down != maxBreakers {
		t.Errorf("%d entries, %d hosts down, want %d", size, down, maxBreakers)
	}
	for i := range tripped {
		if got := b.failures(b.of(fmt.Sprintf("down%d.test:443", i))); got != 0 {
			t.Fatalf("a host is known that went down before %d others", failing)
		}
	}
}

// A request that reports twice counts once.
func TestBreaker_PermitCountsOnce(t *testing.T) {
	inBreaker(t, func(b *breakerTest) {
		retryAt := b.trip(true)
		for range 3 {
			time.Sleep(time.Until(retryAt))
			p := b.probe()
			if !b.fail(true, p) {
				t.Fatal("a failed probe is not heard")
			}
			retryAt = b.down().RetryAt
			if b.fail(true, p) {
				t.Error("the second report trips again")
			}
			b.release(p)
			if got := b.down().RetryAt; !got.Equal(retryAt) {
				t.Errorf("the second report moves RetryAt from %v to %v", retryAt, got)
			}
		}
		if got := b.seen(host).cooldown; got != 4*time.Minute {
			t.Errorf("cool-down of %v after three probes, want 4m", got)
		}
		time.Sleep(time.Until(retryAt))
		p := b.probe()
		b.success(host, p)
		b.success(host, p)
		b.release(p)
		b.up()
		if b.fail(true, p); b.failures(b.of(host)) != 1 {
			t.Error("a failure after the success is not a new one")
		}
	})
}

func TestBreaker_ConcurrentUse(t *testing.T) {
	b := newTestBreaker(BreakerOptions{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 5000 {
				key := fmt.Sprintf("h%d.test:443", n%7)
				now := time.Now().Add(time.Duration(n) * time.Second)
				p, down := b.allow(key, now)
				switch {
				case down != nil:
					_ = down.Error()
				case (n+i)%5 == 0:
					b.success(key, p)
				case (n+i)%7 == 0:
					b.release(p)
				default:
					b.failure(key, now, io.EOF, 0, n%2 == 0, p, 0)
				}
				b.refuses(key, now)
				if n%100 == 0 {
					b.down()
				}
			}
		})
	}
	wg.Wait()
	if got := b.size(); got > 7 {
		t.Errorf("%d entries for 7 hosts", got)
	}
}
