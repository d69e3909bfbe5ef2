package transport_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
)

// down checks that url is refused and returns the error.
func (w *world) down(url string, kind hostwise.Kind) *hostwise.HostDownError {
	w.t.Helper()
	var e *hostwise.HostDownError
	if err := w.fails(url, kind, ""); !errors.As(err, &e) {
		w.t.Fatalf("Get(%s): %v, want a HostDownError", url, err)
	}
	return e
}

// answers is a server whose answers the test chooses.
type answers struct {
	status     atomic.Int64
	retryAfter atomic.Value
	requests   atomic.Int64
}

func (a *answers) set(status int, retryAfter string) {
	a.status.Store(int64(status))
	a.retryAfter.Store(retryAfter)
}

func (a *answers) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.requests.Add(1)
	if v := a.retryAfter.Load().(string); v != "" {
		w.Header().Set("Retry-After", v)
	}
	w.WriteHeader(int(a.status.Load()))
	io.WriteString(w, "page")
}

func TestBreakerOptions_Failures(t *testing.T) {
	o := transport.BreakerOptions{Failures: 2, FirstFailures: 1, Cooldown: time.Minute, MaxCooldown: 2 * time.Minute}
	inWorld(t, &http.Transport{DisableKeepAlives: true}, transport.Options{Breaker: o}, func(w *world) {
		w.host("never.test", "192.0.2.1")
		w.fails("http://never.test/", hostwise.ConnectRefused, hostwise.PhaseConnect)
		w.down("http://never.test/", hostwise.HostDown)

		w.host("a.test", "192.0.2.2")
		s := w.serve(ok, "192.0.2.2:80")
		w.takes(0, "http://a.test/")
		s.Close()
		for range 2 {
			w.fails("http://a.test/", hostwise.ConnectRefused, hostwise.PhaseConnect)
		}
		for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 2 * time.Minute} {
			e := w.down("http://a.test/", hostwise.HostDown)
			if got := time.Until(e.RetryAt); got < want*9/10 || got > min(want*11/10, 2*time.Minute) {
				t.Errorf("cool-down of %v, want %v", got, want)
			}
			time.Sleep(time.Until(e.RetryAt))
			w.fails("http://a.test/", hostwise.ConnectRefused, hostwise.PhaseConnect)
		}
	})
	for _, o := range []transport.BreakerOptions{{Disable: true}, {Failures: -1, FirstFailures: -1}} {
		inWorld(t, nil, transport.Options{MaxConnsPerHost: -1, Breaker: o}, func(w *world) {
			w.host("a.test", "192.0.2.1")
			w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
			var wg sync.WaitGroup
			for range 20 {
				wg.Go(func() { w.fails("http://a.test/", hostwise.ConnectTimeout, hostwise.PhaseConnect) })
			}
			wg.Wait()
			if d := time.Since(w.start); d != 10*time.Second || w.dials("192.0.2.1") != 20 {
				t.Errorf("%+v: %d dials in %v, want all 20 at a time", o, w.dials("192.0.2.1"), d)
			}
		})
	}
}

// Hosts with one key go down together, and errors name the request's own.
func TestBreakerOptions_Key(t *testing.T) {
	o := transport.BreakerOptions{Key: func(hostPort string) string {
		labels := strings.Split(hostPort, ".")
		return strings.Join(labels[max(0, len(labels)-2):], ".")
	}}
	inWorld(t, nil, transport.Options{Breaker: o}, func(w *world) {
		for i := range 4 {
			w.host(fmt.Sprintf("h%d.group.test", i), "192.0.2.1")
		}
		w.host("other.test", "192.0.2.2")
		w.serve(ok, "192.0.2.2:80")
		w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
		var wg sync.WaitGroup
		var refused atomic.Int64
		for i := range 16 { // of each host three dial, the third after a second, and one waits
			wg.Go(func() {
				if _, err := w.get(fmt.Sprintf("http://h%d.group.test/", i%4)); hostwise.KindOf(err) == hostwise.HostDown {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		if got := refused.Load(); got != 4 || time.Since(w.start) != 11*time.Second {
			t.Errorf("after %v %d of those who waited were refused, want 4 after 11s", time.Since(w.start), got)
		}
		for i := range 4 {
			host := fmt.Sprintf("h%d.group.test", i)
			if e := w.down("http://"+host+"/", hostwise.HostDown); e.Host != host+":80" {
				t.Errorf("the error names %s, want %s:80", e.Host, host)
			}
		}
		w.takes(0, "http://other.test/")
		if got := w.tr.Stats().HostsDown; got != 1 {
			t.Errorf("HostsDown = %d, want 1, the group", got)
		}
	})
}

func TestBreakerOptions_TripOn(t *testing.T) {
	inWorld(t, nil, transport.Options{Breaker: transport.BreakerOptions{TripOn: []int{503, 403}}}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		var a answers
		w.serve(&a, "192.0.2.1:80")
		get := func(want int) {
			t.Helper()
			resp, err := w.client.Get("http://a.test/")
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			if page, err := io.ReadAll(resp.Body); resp.StatusCode != want || string(page) != "page" || err != nil {
				t.Fatalf("status %d, %q, %v, want the answer as it is: %d", resp.StatusCode, page, err, want)
			}
		}
		for _, status := range []int{404, 500, 503, 503, 403, 503, 200, 503, 403, 503, 503, 503} {
			a.set(status, "120") // HonorRetryAfter is off
			get(status)
			time.Sleep(time.Millisecond)
		}
		e := w.down("http://a.test/", hostwise.HostDown)
		var last *hostwise.RequestError
		if e.Failures != 5 || !errors.As(e.Last, &last) || last.Kind != hostwise.HTTPStatus || last.Host != "a.test:80" || last.Addr.String() != "192.0.2.1:80" {
			t.Errorf("err = %+v, last %#v, want 5 failures, and the status", e, e.Last)
		}
		if got, want := e.Error(), "dial a.test:80: host down since "+e.Since.Format(time.TimeOnly)+", retry in"; !strings.HasPrefix(got, want) || !strings.HasSuffix(got, "(last: 503 Service Unavailable)") {
			t.Errorf("message %q, want %q and the status", got, want)
		}
		if got, want := e.Last.Error(), "request to a.test:80 at 192.0.2.1:80: status taken for a failure (503 Service Unavailable)"; got != want {
			t.Errorf("Last says %q, want %q", got, want)
		}
		time.Sleep(time.Until(e.RetryAt)) // the probe
		get(503)
		e = w.down("http://a.test/", hostwise.HostDown)
		time.Sleep(time.Until(e.RetryAt))
		a.set(200, "")
		get(200)
		get(200)
	})
}

// A status that comes through a proxy may be the proxy's own.
func TestBreakerOptions_TripOnThroughAProxy(t *testing.T) {
	base := &http.Transport{Proxy: http.ProxyURL(&url.URL{Scheme: "http", Host: "proxy.test:3128"})}
	inWorld(t, base, transport.Options{Breaker: transport.BreakerOptions{TripOn: []int{503}, HonorRetryAfter: true}}, func(w *world) {
		w.host("proxy.test", "192.0.2.9")
		var a answers
		a.set(503, "120")
		w.serve(&a, "192.0.2.9:3128")
		for range 10 {
			w.takes(0, "http://a.test/")
		}
	})
}

func TestBreakerOptions_HonorRetryAfter(t *testing.T) {
	o := transport.BreakerOptions{HonorRetryAfter: true, TripOn: []int{429}}
	inWorld(t, nil, transport.Options{Breaker: o}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		var a answers
		w.serve(&a, "192.0.2.1:80")
		for _, tt := range []struct {
			status int
			value  string // "+90s": a date, so much later
			want   time.Duration
		}{
			{429, "120", 2 * time.Minute},
			{503, "1", time.Second},
			{503, "+90s", 90 * time.Second},
			{429, "86400", time.Hour},         // MaxCooldown
			{429, "4294967295000", time.Hour}, // any number is one
			{503, "+100h", time.Hour},
			{503, "0", 0},
			{503, "-5", 0},
			{503, "soon", 0},
			{503, "+-10s", 0}, // a date in the past
			{503, "", 0},
			{500, "120", 0},
			{200, "120", 0},
			{301, "120", 0},
		} {
			value := tt.value
			if after, ok := strings.CutPrefix(value, "+"); ok {
				d, err := time.ParseDuration(after)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Until(time.Now().Truncate(time.Second).Add(time.Second))) // dates have no fractions
				value = time.Now().Add(d).UTC().Format(http.TimeFormat)
			}
			a.set(tt.status, value)
			start := time.Now()
			w.takes(0, "http://a.test/")
			if tt.want == 0 {
				w.takes(0, "http://a.test/")
				continue
			}
			e := w.down("http://a.test/", hostwise.HostPaused)
			if !e.RetryAt.Equal(start.Add(tt.want)) || !e.Since.Equal(start) || e.Failures != 0 || e.Last != nil {
				t.Errorf("%d, %q: %+v, want a pause of %v from %v", tt.status, value, e, tt.want, start)
			}
			if got := w.tr.Stats(); got.HostsPaused != 1 || got.HostsDown != 0 {
				t.Errorf("HostsPaused = %d, HostsDown = %d, want 1, 0", got.HostsPaused, got.HostsDown)
			}
			time.Sleep(tt.want - time.Nanosecond)
			w.down("http://a.test/", hostwise.HostPaused)
			time.Sleep(time.Nanosecond)
		}
		a.set(200, "")
		w.takes(0, "http://a.test/")
		if got := w.tr.Stats(); got.HostsPaused != 0 || got.Trips != 0 || got.TimeSaved != 0 {
			t.Errorf("HostsPaused = %d, Trips = %d, TimeSaved = %v, want none: it was never down", got.HostsPaused, got.Trips, got.TimeSaved)
		}
	})
}

// Answers to requests that are under way do not end a pause, and a shorter
// pause does not, either.
func TestBreakerOptions_PauseLasts(t *testing.T) {
	inWorld(t, nil, transport.Options{Breaker: transport.BreakerOptions{HonorRetryAfter: true}}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at, _ := time.ParseDuration(r.URL.Query().Get("at"))
			time.Sleep(at)
			if pause := r.URL.Query().Get("pause"); pause != "" {
				w.Header().Set("Retry-After", pause)
				w.WriteHeader(429)
			}
		}), "192.0.2.1:80")
		start := time.Now()
		var wg sync.WaitGroup
		for _, q := range []string{"at=1s&pause=60", "at=2s", "at=3s&pause=10", "at=4s"} {
			wg.Go(func() { w.get("http://a.test/?" + q) })
		}
		wg.Wait()
		if e := w.down("http://a.test/", hostwise.HostPaused); !e.RetryAt.Equal(start.Add(61*time.Second)) || !e.Since.Equal(start.Add(time.Second)) {
			t.Errorf("paused from %v to %v, want from 1s to 61s", e.Since.Sub(start), e.RetryAt.Sub(start))
		}
		time.Sleep(57 * time.Second)
		w.takes(0, "http://a.test/")
	})
}

func TestBreakerOptions_OnChange(t *testing.T) {
	var mu sync.Mutex
	var got []transport.HostChange
	var tr atomic.Pointer[transport.Transport]
	o := transport.BreakerOptions{HonorRetryAfter: true, OnChange: func(c transport.HostChange) {
		tr.Load().Stats() // no lock is held
		mu.Lock()
		defer mu.Unlock()
		got = append(got, c)
	}}
	inWorld(t, nil, transport.Options{Breaker: o}, func(w *world) {
		tr.Store(w.tr)
		w.host("a.test", "192.0.2.1")
		for range 5 { // three times, and two that are refused
			w.get("http://a.test/")
		}
		e := w.down("http://a.test/", hostwise.HostDown)
		first, again := w.start, e.RetryAt
		time.Sleep(time.Until(again))
		w.fails("http://a.test/", hostwise.ConnectRefused, hostwise.PhaseConnect) // the probe
		second := w.down("http://a.test/", hostwise.HostDown).RetryAt
		time.Sleep(time.Until(second))
		var a answers
		a.set(503, "60")
		w.serve(&a, "192.0.2.1:80")
		w.takes(0, "http://a.test/")
		a.set(200, "")
		time.Sleep(time.Minute)
		w.takes(0, "http://a.test/")

		const up, down, probing, paused = transport.StateUp, transport.StateDown, transport.StateProbing, transport.StatePaused
		want := []transport.HostChange{
			{From: up, To: down, At: first, RetryAt: again, Failures: 3},
			{From: down, To: probing, At: again, RetryAt: again.Add(time.Minute), Failures: 3},
			{From: probing, To: down, At: again, RetryAt: second, Failures: 4},
			{From: down, To: probing, At: second, RetryAt: second.Add(time.Minute), Failures: 4},
			{From: probing, To: paused, At: second, RetryAt: second.Add(time.Minute)},
			{From: paused, To: up, At: second.Add(time.Minute)},
		}
		for i := range got {
			if k := hostwise.KindOf(got[i].Last); got[i].Host != "a.test:80" || k != hostwise.ConnectRefused && (got[i].Failures > 0 || k != "") {
				t.Errorf("change %d is of %s, last %v", i, got[i].Host, got[i].Last)
			}
			got[i].Host, got[i].Last = "", nil
			got[i].At, got[i].RetryAt = got[i].At.Round(0), got[i].RetryAt.Round(0)
		}
		for i := range want {
			want[i].At, want[i].RetryAt = want[i].At.Round(0), want[i].RetryAt.Round(0)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("changes:\n%+v\nwant:\n%+v", got, want)
		}
	})
}

// A hook that panics, or ends the goroutine, leaves everything in order.
func TestBreakerOptions_OnChangePanics(t *testing.T) {
	var calls []transport.HostState
	for name, end := range map[string]func(){"panic": func() { panic(errStop) }, "Goexit": runtime.Goexit} {
		calls = nil
		base := &http.Transport{}
		inWorld(t, base, transport.Options{Breaker: transport.BreakerOptions{TripOn: []int{503}, Failures: 1, MaxCooldown: -1, OnChange: func(c transport.HostChange) {
			calls = append(calls, c.To)
			end()
		}}}, func(w *world) {
			w.host("a.test", "192.0.2.1")
			var a answers
			a.set(503, "")
			w.serve(&a, "192.0.2.1:80")
			get := func() { w.isolated(func() { w.get("http://a.test/") }) }
			get()
			for range 3 {
				time.Sleep(33 * time.Second)
				get() // the probe; its second change is for the next to tell
				get()
			}
			time.Sleep(33 * time.Second)
			a.set(200, "")
			get()
			get()
			w.takes(0, "http://a.test/")
			want := []transport.HostState{"down", "probing", "down", "probing", "down", "probing", "down", "probing", "up"}
			if !slices.Equal(calls, want) {
				t.Errorf("%s: changes to %v, want %v", name, calls, want)
			}
			synctest.Wait()
			w.tr.CloseIdleConnections()
			synctest.Wait()
			if got := w.tr.Stats().Conns; got != 0 {
				t.Errorf("%s: %d connections are left", name, got)
			}
		})
	}
}

// isolated runs f on a goroutine of its own, which may panic with errStop or
// end early.
func (w *world) isolated(f func()) {
	var wg sync.WaitGroup
	wg.Go(func() {
		defer func() {
			if r := recover(); r != nil && r != errStop {
				w.t.Errorf("panic: %v", r)
			}
		}()
		f()
	})
	wg.Wait()
}

// Changes are told one after the other and in order, however many requests
// meet them.
func TestBreakerOptions_OnChangeInOrder(t *testing.T) {
	var busy atomic.Bool
	var mu sync.Mutex
	state := map[string]transport.HostState{}
	changes := 0
	o := transport.BreakerOptions{Failures: 2, FirstFailures: 2, Cooldown: time.Millisecond, MaxCooldown: -1, TripOn: []int{503}, OnChange: func(c transport.HostChange) {
		if !busy.CompareAndSwap(false, true) {
			t.Error("the hook runs twice at a time")
		}
		defer busy.Store(false)
		mu.Lock()
		defer mu.Unlock()
		was, ok := state[c.Host]
		if !ok {
			was = transport.StateUp
		}
		if c.From != was {
			t.Errorf("%s changes from %s to %s, but was %s", c.Host, c.From, c.To, was)
		}
		state[c.Host] = c.To
		changes++
	}}
	inWorld(t, nil, transport.Options{Breaker: o}, func(w *world) {
		var n atomic.Int64
		w.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1)%3 != 0 {
				w.WriteHeader(503)
			}
		}), "192.0.2.1:80")
		for i := range 3 {
			w.host("h"+strconv.Itoa(i)+".test", "192.0.2.1")
		}
		var wg sync.WaitGroup
		for i := range 30 {
			wg.Go(func() {
				for range 100 {
					w.get("http://h" + strconv.Itoa(i%3) + ".test/")
					time.Sleep(100 * time.Microsecond)
				}
			})
		}
		wg.Wait()
	})
	if changes < 100 {
		t.Errorf("%d changes, want a hundred and more", changes)
	}
}

// Who is refused because another request is finding out whether the host is
// back need not wait for as long as that might take: a minute.
func TestBreaker_RefusedDuringProbe(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.link("192.0.2.1", simnet.Link{RTT: 100 * ms})
		for range 3 {
			w.fails("http://a.test/", hostwise.ConnectRefused, hostwise.PhaseConnect)
		}
		w.serve(ok, "192.0.2.1:80")
		time.Sleep(time.Until(w.down("http://a.test/", hostwise.HostDown).RetryAt))
		probed := make(chan error)
		go func() {
			_, err := w.get("http://a.test/")
			probed <- err
		}()
		time.Sleep(50 * ms)
		e := w.down("http://a.test/", hostwise.HostDown)
		if got := time.Until(e.RetryAt); got != time.Second {
			t.Errorf("RetryAt is %v away, want 1s", got)
		}
		if err := <-probed; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Until(e.RetryAt))
		w.takes(100*ms, "http://a.test/")
	})
}
