package dnscache

import (
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
)

func answer(addrs ...string) *record {
	return &record{state: positive, addrs: list(addrs...), ttl: time.Minute, expires: int64(time.Hour)}
}

func TestCache_KeepsBothFamilies(t *testing.T) {
	c := newCache(100)
	c.put("a.test", v4, answer("192.0.2.1", "192.0.2.2"))
	if got := c.records("a.test"); got[v6] != nil || !reflect.DeepEqual(got[v4], answer("192.0.2.1", "192.0.2.2")) {
		t.Errorf("records = %+v, %+v, want IPv4 only", got[v6], got[v4])
	}
	c.put("a.test", v6, answer("2001:db8::1"))
	c.put("a.test", v4, answer("192.0.2.3"))
	got := c.records("a.test")
	if !reflect.DeepEqual(got, [2]*record{v6: answer("2001:db8::1"), v4: answer("192.0.2.3")}) {
		t.Errorf("records = %+v, %+v, want the new ones of both families", got[v6], got[v4])
	}
	if got := c.records("b.test"); got != [2]*record{} {
		t.Errorf("records of a name never put = %v", got)
	}
	c.forget("a.test")
	if got := c.records("a.test"); got != [2]*record{} {
		t.Errorf("records of a forgotten name = %v", got)
	}
	if entries, _, evictions := c.stats(); entries != 0 || evictions != 0 {
		t.Errorf("%d entries, %d evictions, want none", entries, evictions)
	}
}

// A name that is used stays, whatever passes through the cache.
func TestCache_SecondChance(t *testing.T) {
	const room, passing = 1000, 20_000
	c := newCache(room)
	hot := make([]string, room/10)
	for i := range hot {
		hot[i] = fmt.Sprintf("hot%d.test", i)
		c.put(hot[i], v4, answer("192.0.2.1"))
	}
	for i := range passing {
		c.put(fmt.Sprintf("cold%d.test", i), v4, answer("192.0.2.2"))
		if e := c.get(hot[i%len(hot)]); e != nil {
			e.used()
		}
	}
	lost := 0
	for _, name := range hot {
		if c.get(name) == nil {
			lost++
		}
	}
	// A bucket of seven may be full of used names now and then.
	if lost > len(hot)/10 {
		t.Errorf("%d of %d names in use were evicted", lost, len(hot))
	}
	if c.get("cold0.test") != nil {
		t.Error("the first name never used again is still there")
	}
}

func TestCache_IsBounded(t *testing.T) {
	for _, room := range []int{1, 2, 7, 8, 63, 1000} {
		c := newCache(room)
		for i := range 5 * room {
			c.put(fmt.Sprintf("h%d.test", i), v4, answer("192.0.2.1"))
			c.put(fmt.Sprintf("h%d.test", i), v6, answer("2001:db8::1"))
			if i%2 == 0 {
				c.get(fmt.Sprintf("h%d.test", i)).used()
			}
			if entries, _, _ := c.stats(); entries > room {
				t.Fatalf("%d entries, want at most %d", entries, room)
			}
		}
		entries, _, evictions := c.stats()
		if entries < room*9/10 || int(evictions) != 5*room-entries {
			t.Errorf("room for %d: %d entries and %d evictions after %d names", room, entries, evictions, 5*room)
		}
		found := 0
		for i := range 5 * room {
			if c.get(fmt.Sprintf("h%d.test", i)) != nil {
				found++
			}
		}
		if found != entries {
			t.Errorf("room for %d: %d names are found, want %d", room, found, entries)
		}
	}
}

// A reader gets a whole record, of the name it asked for, while writers
// replace, evict and grow.
func TestCache_ReadersSeeWholeRecords(t *testing.T) {
	const names = 500
	c := newCache(names / 2)
	records := make([]*record, names)
	name := func(i int) string { return fmt.Sprintf("h%d.test", i) }
	for i := range records {
		a := netip.AddrFrom4([4]byte{192, 0, byte(i >> 8), byte(i)})
		records[i] = &record{state: positive, addrs: slices.Repeat([]netip.Addr{a}, 1+i%9), ttl: time.Minute, expires: int64(i)}
	}
	var writers, readers sync.WaitGroup
	stop := make(chan struct{})
	for w := range 2 {
		writers.Go(func() {
			for i := range 20_000 {
				n := (i*7 + w*3) % names
				if i%50 == 0 {
					c.forget(name(n))
				}
				c.put(name(n), v4, records[n])
			}
		})
	}
	hits := make([]int, 2)
	for r := range hits {
		readers.Go(func() {
			for i, left := r, names; left > 0; i = (i + 11) % names {
				select {
				case <-stop:
					left-- // once through what is there in the end
				default:
				}
				e := c.get(name(i))
				if e == nil {
					continue
				}
				e.used()
				hits[r]++
				if got := e.record(v4); !reflect.DeepEqual(got, records[i]) {
					t.Errorf("record of %s = %+v, want %+v", name(i), got, records[i])
					return
				}
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	if hits[0]+hits[1] == 0 {
		t.Error("no reader found anything")
	}
}

func TestEntry_TakesRefreshOnceInTheLastTenth(t *testing.T) {
	rec := &record{state: positive, addrs: list("192.0.2.1"), ttl: 100 * time.Second, expires: int64(1000 * time.Second)}
	e := newEntry("a.test", [2]*record{v4: rec, v6: {state: negative, err: nodata("a.test"), ttl: 100 * time.Second, expires: rec.expires}})
	if e.takeRefresh(v4, int64(990*time.Second)-1) {
		t.Error("refresh before the last tenth")
	}
	if !e.takeRefresh(v4, int64(990*time.Second)) || e.takeRefresh(v4, int64(990*time.Second)) {
		t.Error("want one refresh in the last tenth")
	}
	if e.takeRefresh(v6, int64(995*time.Second)) {
		t.Error("a negative answer is refreshed ahead")
	}
	if newEntry("a.test", [2]*record{v4: rec}).takeRefresh(v4, rec.expires) {
		t.Error("what has expired is refreshed ahead")
	}
}

// Where the block is full, an empty part has no place in it.
func TestEntry_AnEmptyPartIsNil(t *testing.T) {
	for n := 1; n <= 8; n++ {
		e := newEntry(strings.Repeat("a", n), [2]*record{v6: {state: positive, addrs: list("2001:db8::1")}})
		if got := e.data(v4); got != nil {
			t.Errorf("a name of %d bytes: IPv4's part of the entry is %v, want nil", n, got)
		}
	}
}

// An error comes out of the cache as it went in, but for the cause.
func TestEntry_KeepsErrors(t *testing.T) {
	for _, e := range []*hostwise.DNSError{
		{Host: "a.test", Kind: hostwise.DNSNXDomain, Server: "192.0.2.53:53", Rcode: 3},
		{Host: "a.test", Kind: hostwise.DNSTimeout, Asked: []string{"192.0.2.53:53", "[2001:db8::53]:53"}},
		{Host: "a.test", Kind: hostwise.DNSBogus, Server: "192.0.2.53:53", Rcode: 2, EDE: []hostwise.EDE{{Code: 6, Text: "signature expired"}, {Code: 49152}}},
		{Host: "a.test", Kind: hostwise.DNSLame, Server: "192.0.2.53:53", Rcode: 4095},
		{Host: "a.test", Kind: hostwise.DNSCNAMELoop},
	} {
		packed := newEntry("a.test", [2]*record{v6: answer("2001:db8::1"), v4: {state: failed, err: e}})
		if got := packed.record(v4).err; !reflect.DeepEqual(got, e) {
			t.Errorf("unpacked: %+v, want %+v", got, e)
		}
		if got := packed.host(); got != "a.test" {
			t.Errorf("host = %q, want a.test", got)
		}
	}
}

// A text that is too long is not cut within a character.
func TestEntry_CutsTextsBetweenCharacters(t *testing.T) {
	e := &hostwise.DNSError{Kind: hostwise.DNSServFail, EDE: []hostwise.EDE{{Code: 22, Text: "x" + strings.Repeat("é", 40)}}}
	got, _ := unpackError("a.test", packError(&record{err: e}))
	if want := "x" + strings.Repeat("é", 23); got.EDE[0].Text != want {
		t.Errorf("%q, want %q", got.EDE[0].Text, want)
	}
}

func TestEntry_EveryKindOfAnAnswerHasANumber(t *testing.T) {
	for _, k := range []hostwise.Kind{
		hostwise.DNSNXDomain, hostwise.DNSNoData, hostwise.DNSServFail, hostwise.DNSRefused, hostwise.DNSFormErr, hostwise.DNSLame, hostwise.DNSBogus,
		hostwise.DNSBlocked, hostwise.DNSTimeout, hostwise.DNSServerUnreachable, hostwise.DNSTruncated, hostwise.DNSMalformed, hostwise.DNSCNAMELoop,
	} {
		if got, _ := unpackError("a.test", packError(&record{err: &hostwise.DNSError{Kind: k}})); got.Kind != k {
			t.Errorf("%s comes back as %s", k, got.Kind)
		}
	}
}

// FuzzEntry packs and unpacks. What is too long is cut, and nothing else.
func FuzzEntry(f *testing.F) {
	f.Add("a.test", "192.0.2.53:53", "no reachable authority", uint16(22), uint16(2), uint8(3), uint8(2))
	f.Add(strings.Repeat("a", 253), strings.Repeat("b", 300), strings.Repeat("c", 300), uint16(65535), uint16(4095), uint8(64), uint8(9))
	f.Fuzz(func(t *testing.T, name, server, text string, code, rcode uint16, addrs, edes uint8) {
		name = name[:min(len(name), 253)]
		e := &hostwise.DNSError{Host: name, Kind: hostwise.DNSServFail, Rcode: int(rcode & 0xfff), Server: server, Err: errors.New("not kept")}
		if server == "" || code%2 == 0 {
			e.Server, e.Asked = "", slices.Repeat([]string{server}, int(addrs%4))
		}
		for range edes {
			e.EDE = append(e.EDE, hostwise.EDE{Code: code, Text: text})
		}
		pos := &record{state: positive, ttl: time.Second, expires: 1}
		for i := range addrs % 65 {
			pos.addrs = append(pos.addrs, netip.AddrFrom16([16]byte{0x20, 1, 15: i}))
		}
		p := newEntry(name, [2]*record{v6: pos, v4: {state: failed, err: e, expires: 2}})
		if !p.is(name) || p.is(name+"x") || p.host() != name {
			t.Errorf("the entry of %q is one of %q", name, p.host())
		}
		if got := p.record(v6); !reflect.DeepEqual(got, pos) {
			t.Errorf("record = %+v, want %+v", got, pos)
		}
		got := p.record(v4).err
		if got.Kind != e.Kind || got.Rcode != e.Rcode || got.Host != name || got.Err != nil {
			t.Errorf("error = %+v, want %+v", got, e)
		}
		if len(got.EDE) > len(e.EDE) || len(e.EDE) > 0 && (len(got.EDE) == 0 || got.EDE[0].Code != code || !strings.HasPrefix(text, got.EDE[0].Text)) {
			t.Errorf("EDE = %+v, want those of %+v", got.EDE, e.EDE)
		}
		if len(server) <= 64 && (got.Server != e.Server || len(e.Asked) <= 1 && !slices.Equal(got.Asked, e.Asked)) {
			t.Errorf("Server, Asked = %q, %q, want %q, %q", got.Server, got.Asked, e.Server, e.Asked)
		}
	})
}
