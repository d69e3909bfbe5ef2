package dnscache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/miekg/dns"
)

// restored is a second Resolver, like w's, that begins with a snapshot of it.
func (w *world) restored(o dnscache.Options) *dnscache.Resolver {
	w.t.Helper()
	var b bytes.Buffer
	if err := w.r.Snapshot(&b); err != nil {
		w.t.Fatal(err)
	}
	o.Servers, o.Dial = []string{"192.0.2.53"}, w.net.DialContext
	if o.HostsFile == "" {
		o.HostsFile = os.DevNull
	}
	r, err := dnscache.New(&o)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := r.Restore(&b); err != nil {
		w.t.Errorf("Restore: %v", err)
	}
	return r
}

// as runs f with another Resolver in the place of w's.
func (w *world) as(r *dnscache.Resolver, f func()) {
	defer r.Close()
	mine := w.r
	defer func() { w.r = mine }()
	w.r = r
	f()
}

func TestSnapshot_ACrawlBeginsWarm(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.host("both.test", 300, "192.0.2.1", "192.0.2.2", "2001:db8::1")
		w.host("four.test", 600, "192.0.2.3")
		w.all("fails.test", dns.TypeANY, simnet.Rule{Rcode: dns.RcodeServerFailure})
		w.all("blocked.test", dns.TypeANY, simnet.Rule{Rcode: dns.RcodeNameError, EDE: 15, EDEText: "malware", NegTTL: 600})
		w.gets("ip", "both.test", rtt, "2001:db8::1", "192.0.2.1", "192.0.2.2")
		w.gets("ip", "four.test", rtt, "192.0.2.3")
		w.fails("ip", "gone.test", hostwise.DNSNXDomain, rtt)
		w.fails("ip", "fails.test", hostwise.DNSServFail, 2*rtt)
		before := w.fails("ip", "blocked.test", hostwise.DNSBlocked, rtt)
		time.Sleep(100*time.Second - 6*rtt)
		w.as(w.restored(dnscache.Options{}), func() {
			if got := w.r.Stats().Entries; got != 4 { // not the failure
				t.Errorf("%d names restored, want 4", got)
			}
			w.gets("ip", "both.test", 0, "2001:db8::1", "192.0.2.1", "192.0.2.2")
			w.gets("ip", "four.test", 0, "192.0.2.3")
			w.fails("ip", "gone.test", hostwise.DNSNXDomain, 0)
			e := w.fails("ip", "blocked.test", hostwise.DNSBlocked, 0)
			if e.Server != before.Server || len(e.EDE) != 1 || e.EDE[0] != before.EDE[0] || !e.Cached || e.RetryAt.Sub(before.RetryAt).Abs() > time.Millisecond {
				t.Errorf("restored error %+v, want that of before, cached: %+v", e, before)
			}
			time.Sleep(199 * time.Second) // just before both.test expires, as it would have without the restart
			w.gets("ip4", "both.test", 0, "192.0.2.1", "192.0.2.2")
			time.Sleep(2 * time.Second)
			queries := w.r.Stats().Queries
			w.gets("ip4", "four.test", 0, "192.0.2.3")
			if got := w.r.Stats().Queries; got != queries {
				t.Error("a name that holds was asked for")
			}
		})
	})
}

func TestSnapshot_ExpiredAnswersServeAsStaleOnes(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.host("a.test", 60, "192.0.2.1")
		w.gets("ip4", "a.test", rtt, "192.0.2.1")
		w.servers[0].SetSilent(true)
		time.Sleep(time.Hour)
		w.gets("ip4", "a.test", 1800*time.Millisecond, "192.0.2.1") // stale in the first process, too
		w.as(w.restored(dnscache.Options{}), func() {
			w.gets("ip4", "a.test", 1800*time.Millisecond, "192.0.2.1")
			time.Sleep(24 * time.Hour)
			w.fails("ip4", "a.test", hostwise.DNSTimeout, 4*time.Second) // past MaxStale, counted from the true expiry
		})
		w.as(w.restored(dnscache.Options{MaxStale: -1}), func() {
			if got := w.r.Stats().Entries; got != 0 {
				t.Errorf("%d names restored that are of no use", got)
			}
		})
	})
}

func TestRestore_KeepsWhatIsKnown(t *testing.T) {
	hosts := filepath.Join(t.TempDir(), "hosts")
	if err := os.WriteFile(hosts, []byte("192.0.2.9 static.test\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.host("a.test", 300, "192.0.2.1", "2001:db8::1")
		w.host("static.test", 300, "192.0.2.2")
		w.gets("ip", "a.test", rtt, "2001:db8::1", "192.0.2.1")
		w.gets("ip4", "static.test", rtt, "192.0.2.2")
		var b bytes.Buffer
		if err := w.r.Snapshot(&b); err != nil {
			t.Fatal(err)
		}
		r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: hosts, Dial: w.net.DialContext})
		if err != nil {
			t.Fatal(err)
		}
		w.as(r, func() {
			w.host("a.test", 300, "192.0.2.7")
			w.gets("ip4", "a.test", rtt, "192.0.2.7")
			if err := r.Restore(&b); err != nil {
				t.Fatal(err)
			}
			w.gets("ip", "a.test", 0, "2001:db8::1", "192.0.2.7")
			w.gets("ip4", "static.test", 0, "192.0.2.9")
		})
	})
}

// MaxHosts and MaxTTL hold for what is restored.
func TestRestore_WithinBounds(t *testing.T) {
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		hosts := names(500)
		for _, h := range hosts {
			w.host(h, 86400, "192.0.2.1")
		}
		w.r.Prefetch(context.Background(), hosts)
		w.as(w.restored(dnscache.Options{MaxHosts: 100}), func() {
			s := w.r.Stats()
			if taken := s.Entries + int(s.Evictions); taken != 100 { // both buckets of a name may be full before the table is
				t.Errorf("%d names restored, %d of them evicted, want MaxHosts, 100", taken, s.Evictions)
			}
		})
		w.as(w.restored(dnscache.Options{MaxTTL: time.Hour}), func() {
			w.gets("ip4", "h0.test", 0, "192.0.2.1")
			time.Sleep(time.Hour)
			w.gets("ip4", "h0.test", rtt, "192.0.2.1")
		})
	})
}

// snapshotOf returns a snapshot with answers of every form.
func snapshotOf(tb testing.TB) []byte {
	r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull})
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	r.Put("a.test", parse("192.0.2.1", "192.0.2.2"), parse("2001:db8::1"), nil)
	r.Put("b.test", parse("192.0.2.3"), nil, &hostwise.DNSError{Host: "b.test", Kind: hostwise.DNSNoData, Server: "192.0.2.53:53"})
	r.Put("c.test", nil, nil, &hostwise.DNSError{Host: "c.test", Kind: hostwise.DNSNXDomain, Rcode: 3, EDE: []hostwise.EDE{{Code: 15, Text: "no"}}})
	var b bytes.Buffer
	if err := r.Snapshot(&b); err != nil {
		tb.Fatal(err)
	}
	return b.Bytes()
}

// Whatever is wrong with a snapshot, nothing of it is taken in.
func TestRestore_RefusesDamage(t *testing.T) {
	good := snapshotOf(t)
	r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	refused := func(what string, b []byte, say string) {
		t.Helper()
		err := r.Restore(bytes.NewReader(b))
		if err == nil || !strings.Contains(err.Error(), say) {
			t.Errorf("%s: %v, want an error that says %q", what, err, say)
		}
		if got := r.Stats().Entries; got != 0 {
			t.Fatalf("%s: %d names were taken in", what, got)
		}
	}
	for i := range good {
		b := bytes.Clone(good)
		b[i] ^= 0x10
		refused("a changed byte", b, "snapshot")
		refused("cut short", good[:i], "snapshot")
	}
	refused("longer", append(bytes.Clone(good), 0), "damaged")
	refused("nothing", nil, "not a snapshot")
	refused("something else", []byte("{\"hosts\": [\"a.test\", \"b.test\"]}"), "not a snapshot")
	refused("a version to come", bytes.Replace(good, []byte("dnscache 1"), []byte("dnscache 2"), 1), "not a snapshot of this version")
	if err := r.Restore(brokenReader{}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want the reader's error", err)
	}
	if err := r.Snapshot(brokenWriter{}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%v, want the writer's error", err)
	}
	if err := r.Restore(bytes.NewReader(good)); err != nil || r.Stats().Entries != 3 {
		t.Errorf("%v, %d names, want 3", err, r.Stats().Entries)
	}
}

// What is not going to be kept takes no memory, even before the sum is read.
func TestRestore_HoldsNoMoreThanMaxHosts(t *testing.T) {
	r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, MaxHosts: 10})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	in := &heapReader{left: 200_000}
	if err := r.Restore(in); err == nil || !strings.Contains(err.Error(), "cut short") {
		t.Errorf("%v, want an error that says the input is cut short", err)
	}
	if grown := int64(in.last) - int64(in.first); grown > 1<<20 {
		t.Errorf("holds %d bytes for 10 names", grown)
	}
}

// heapReader is a snapshot of many names without an end. It looks at the heap
// before the first name and after the last.
type heapReader struct {
	left        int
	first, last uint64 // bytes in use
}

func (h *heapReader) Read(p []byte) (int, error) {
	var m runtime.MemStats
	switch {
	case h.first == 0:
		runtime.GC()
		runtime.ReadMemStats(&m)
		h.first = m.HeapAlloc
		return copy(p, "hostwise dnscache 1\n"), nil
	case h.left == 0:
		runtime.GC()
		runtime.ReadMemStats(&m)
		h.last = m.HeapAlloc
		return 0, io.EOF
	}
	h.left--
	return copy(p, fmt.Sprintf("\x07a%06d", h.left)+farExpiry), nil
}

// farExpiry is, of an entry, the families: an IPv4 address that holds for ever.
const farExpiry = "\x00\x01\x7f\xff\xff\xff\xff\xff\xff\xff\x00\x00\x00\x01\x01\xc0\x00\x02\x01"

// The end of time, in both directions.
func TestRestore_BoundsTheExpiry(t *testing.T) {
	const farPast = "\x00\x01\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x01\xc0\x00\x02\x01"
	inWorld(t, 1, dnscache.Options{}, func(w *world) {
		w.servers[0].SetSilent(true)
		if err := w.r.Restore(bytes.NewReader(dnscache.WithSum([]byte("hostwise dnscache 1\n\x06past.a" + farPast + "\x06ever.a" + farExpiry + "\x00")))); err != nil {
			t.Fatal(err)
		}
		w.gets("ip4", "ever.a", 0, "192.0.2.1")
		time.Sleep(24*time.Hour - 1)
		w.gets("ip4", "ever.a", 0, "192.0.2.1")
		w.fails("ip4", "past.a", hostwise.DNSTimeout, 4*time.Second)
	})
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }

// FuzzRestore gives Restore bytes with a sum that is right. It takes in
// nothing that a lookup could stumble over, and a snapshot of that is read
// again.
func FuzzRestore(f *testing.F) {
	good := snapshotOf(f)
	f.Add(good[:len(good)-32])
	f.Add([]byte("hostwise dnscache 1\n\x00"))
	f.Add([]byte("hostwise dnscache 1\n\x01a\x01"))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull})
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if err := r.Restore(bytes.NewReader(dnscache.WithSum(body))); err != nil {
			if got := r.Stats().Entries; got != 0 {
				t.Fatalf("%v, but %d names were taken in", err, got)
			}
			return
		}
		for _, name := range r.Names() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			addrs, err := r.LookupNetIP(ctx, "ip", name)
			if (len(addrs) == 0) == (err == nil) {
				t.Errorf("%q: %v, %v", name, addrs, err)
			}
			for _, a := range addrs {
				if a == (netip.Addr{}) {
					t.Errorf("%q has the zero address", name)
				}
			}
		}
		var again bytes.Buffer
		if err := r.Snapshot(&again); err != nil {
			t.Fatal(err)
		}
		if err := r.Restore(&again); err != nil {
			t.Errorf("a snapshot of what was restored: %v", err)
		}
	})
}
