package dnscache_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// events is what hooks said, a line each.
type events struct {
	mu    sync.Mutex
	lines []string
}

func (e *events) add(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.lines = append(e.lines, fmt.Sprintf(format, args...))
}

// said returns the lines since it was last called.
func (e *events) said() []string {
	synctest.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	lines := e.lines
	e.lines = nil
	return lines
}

func (e *events) hooks() dnscache.Hooks {
	return dnscache.Hooks{
		QueryDone: func(q dnscache.QueryDone) {
			e.add("query %s %s to %s: rcode %d, %v after %v", q.Host, q.Network, q.Server, q.Rcode, q.Err, q.Elapsed)
		},
		LookupDone: func(l dnscache.LookupDone) {
			kind := string(hostwise.KindOf(l.Err))
			if errors.Is(l.Err, dnscache.ErrNoCaller) {
				kind = "no caller"
			}
			e.add("lookup %s %s: %v %s for %v after %v, %d queries, %d callers, refresh %v, stale %v", l.Host, l.Network, l.Addrs, kind, l.TTL, l.Elapsed, l.Queries, l.Callers, l.Refresh, l.Stale)
		},
	}
}

func TestHooks(t *testing.T) {
	var e events
	inWorld(t, 2, dnscache.Options{Hooks: e.hooks()}, func(w *world) {
		said := func(what string, want ...string) {
			t.Helper()
			if got := e.said(); !slices.Equal(got, want) {
				t.Errorf("%s:\n got %q\nwant %q", what, got, want)
			}
		}
		w.host("a.test", 60, "192.0.2.1")
		w.gets("ip4", "a.test", rtt, "192.0.2.1")
		said("an answer",
			"query a.test ip4 to 192.0.2.53:53: rcode 0, <nil> after 10ms",
			"lookup a.test ip4: [192.0.2.1]  for 1m0s after 10ms, 1 queries, 1 callers, refresh false, stale false")
		w.gets("ip4", "a.test", 0, "192.0.2.1")
		said("a hit")
		time.Sleep(55 * time.Second)
		w.gets("ip4", "a.test", 0, "192.0.2.1")
		time.Sleep(rtt)
		said("a refresh",
			"query a.test ip4 to 192.0.2.53:53: rcode 0, <nil> after 10ms",
			"lookup a.test ip4: [192.0.2.1]  for 1m0s after 10ms, 1 queries, 0 callers, refresh true, stale false")
		w.fails("ip4", "gone.test", hostwise.DNSNXDomain, rtt)
		said("NXDOMAIN",
			"query gone.test ip4 to 192.0.2.53:53: rcode 3, <nil> after 10ms",
			"lookup gone.test ip4: [] dns_nxdomain for 5m0s after 10ms, 1 queries, 1 callers, refresh false, stale false")
		w.all("big.test", dns.TypeA, simnet.Rule{Addrs: parse("192.0.2.2"), TTL: 60, Truncate: true, Times: 2})
		w.gets("ip4", "big.test", 3*rtt, "192.0.2.2")
		said("a truncated answer",
			"query big.test ip4 to 192.0.2.53:53: rcode 0, the reply is truncated after 10ms",
			"query big.test ip4 to 192.0.2.53:53: rcode 0, <nil> after 20ms",
			"lookup big.test ip4: [192.0.2.2]  for 1m0s after 30ms, 1 queries, 1 callers, refresh false, stale false")
		w.servers[0].SetSilent(true)
		w.host("b.test", 60, "192.0.2.3")
		w.gets("ip4", "b.test", 400*time.Millisecond+rtt, "192.0.2.3")
		said("a dead server",
			"query b.test ip4 to 192.0.2.54:53: rcode 0, <nil> after 10ms",
			"query b.test ip4 to 192.0.2.53:53: rcode 0, no reply after 410ms",
			"lookup b.test ip4: [192.0.2.3]  for 1m0s after 410ms, 2 queries, 1 callers, refresh false, stale false")
		w.servers[1].SetSilent(true)
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		defer cancel()
		w.r.LookupNetIP(ctx, "ip4", "c.test")
		said("a canceled lookup",
			"query c.test ip4 to 192.0.2.53:53: rcode 0, no reply after 100ms",
			"lookup c.test ip4: [] no caller for 0s after 100ms, 1 queries, 0 callers, refresh false, stale false")
	})
}

// Every message is reported once, be it a probe that gets no reply.
func TestHooks_EachQueryOnce(t *testing.T) {
	for _, wait := range []time.Duration{0, 20 * time.Second} { // Close takes what is still open, or time has
		var done, silent atomic.Uint64
		inWorld(t, 2, dnscache.Options{Hooks: dnscache.Hooks{QueryDone: func(q dnscache.QueryDone) {
			done.Add(1)
			if q.Err == dnscache.ErrNoReply {
				silent.Add(1)
			}
		}}}, func(w *world) {
			w.servers[0].SetSilent(true)
			for _, h := range names(30) {
				w.host(h, 300, "192.0.2.1")
				w.r.LookupNetIP(context.Background(), "ip4", h)
				time.Sleep(time.Second)
			}
			time.Sleep(wait)
			if wait == 0 {
				w.r.Close()
			}
			if got, want := done.Load(), w.r.Stats().Queries; got != want {
				t.Errorf("QueryDone was called %d times, want once for each of %d messages", got, want)
			}
			if got, want := silent.Load(), uint64(len(w.servers[0].Queries())); got != want || want < 5 {
				t.Errorf("%d without a reply, want %d, those to the silent server, five at least", got, want)
			}
		})
	}
}
