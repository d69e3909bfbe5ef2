package world

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func mustNew(t *testing.T, scenario string, seed uint64) *World {
	t.Helper()
	s, err := Load(scenario)
	if err != nil {
		t.Fatal(err)
	}
	w, err := New(s, seed)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// fingerprint is a hash of all that a client can meet. Times are cut to
// microseconds, because the last bit of math.Exp differs between processors.
func fingerprint(w *World) string {
	sum := sha256.New()
	us := func(d time.Duration) int64 { return d.Microseconds() }
	s := w.Scenario
	s.Name, s.Note = "", ""
	fmt.Fprintf(sum, "%v\n", s)
	for _, h := range w.Hosts {
		fmt.Fprintln(sum, h.Index, h.Name, h.Fate, h.CNAME, h.V4, h.V6, h.TTL, h.Warm, h.WarmTTL,
			us(h.ColdA), us(h.ColdAAAA), us(h.Refetch), h.ServFailFirst, h.Truncated,
			us(h.RTT4), us(h.RTT6), us(h.Think), h.Closes, h.ShortIdle)
		if h.Moved != nil {
			fmt.Fprintln(sum, *h.Moved)
		}
	}
	for k, i := range w.Work {
		dns, connect, server := w.Floor(k, k%2 == 0)
		fmt.Fprintln(sum, w.URL(k), us(w.Think(w.Hosts[i], k)), us(dns), us(connect), us(server), w.TextSize(k), w.Link(k, 3).Name)
	}
	for try := uint64(1); try < 4; try++ {
		for _, h := range w.Hosts {
			fmt.Fprint(sum, w.LosesQuery(h, 1, try), w.LosesQuery(h, 28, try), w.LosesSYN(h.Index, h.V4[0].IP, try))
		}
		fmt.Fprint(sum, w.LosesQuery(nil, 1, try))
	}
	return hex.EncodeToString(sum.Sum(nil))[:16]
}

// The lab is a ruler: figures measured with it are only comparable as long as
// these stay what they are.
func TestNew_WorldIsTheSameForEver(t *testing.T) {
	tests := []struct {
		scenario string
		seed     uint64
		want     string
	}{
		{"web", 1, "8637308c082c75f4"},
		{"web", 2, "8c86cf715dcc486d"},
		{"nsdeath", 1, "da0eeb053441ffd5"},
		{"lossy", 3, "ec63e10a6eb0c659"},
		{"headline", 1, "1bb2b56ac982b701"},
		{"burst", 7, "6152b26f521d0d35"},
	}
	for _, tt := range tests {
		if got := fingerprint(mustNew(t, tt.scenario, tt.seed)); got != tt.want {
			t.Errorf("fingerprint of %s, seed %d: got %s, want %s", tt.scenario, tt.seed, got, tt.want)
		}
	}
}

func TestNew_SameSeedGivesTheSameWorldAndAnotherSeedAnotherOne(t *testing.T) {
	a, again, b := mustNew(t, "web", 1), mustNew(t, "web", 1), mustNew(t, "web", 2)
	if !reflect.DeepEqual(a, again) {
		t.Error("web with seed 1: two worlds differ")
	}
	if reflect.DeepEqual(a.Hosts, b.Hosts) {
		t.Error("web with seeds 1 and 2: same hosts")
	}
}

func TestNew_RefusesWhatItCannotBuild(t *testing.T) {
	for _, s := range []Scenario{
		{Hosts: 0, URLs: 1},
		{Hosts: 1, URLs: 0},
		{Hosts: maxHosts + 1, URLs: 1}, // more hosts than addresses
	} {
		if _, err := New(s, 1); err == nil {
			t.Errorf("New with %d hosts and %d URLs: got no error", s.Hosts, s.URLs)
		}
	}
}

func TestNew_SharesAreExact(t *testing.T) {
	w := mustNew(t, "web", 5)
	got := map[Fate]int{}
	for _, h := range w.Hosts {
		got[h.Fate]++
		if h.Fate != OK && h.Index < 100 {
			t.Errorf("%s: got fate %v, want the most popular tenth spared", h.Name, h.Fate)
		}
	}
	want := map[Fate]int{OK: 914, NXDomain: 50, ServFail: 10, DNSTimeout: 3, Dead: 15, Refused: 5, Mute: 3}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("hosts by fate: got %v, want %v", got, want)
	}
}

func TestDescribe_WebSeed1(t *testing.T) {
	const want = `world web seed 1: 1000 hosts (803 visited), 4000 URLs; hosts/URLs by truth: dead 15/25 dns-timeout 3/5 mute 3/6 nxdomain 50/73 ok 914/3869 refused 5/8 servfail 10/14
  floor DNS per first visit: p50 46 p90 304 p99 1148; RTT: p50 38 p90 110 p99 191; think: p50 31 p90 90 p99 210; TTFB floor: p50 91 p90 251 p99 752`
	if got := mustNew(t, "web", 1).Describe(); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestByName_FindsNamesAndAliases(t *testing.T) {
	w := mustNew(t, "web", 1)
	for _, h := range w.Hosts {
		for _, name := range append([]string{h.Name}, h.CNAME...) {
			if got := w.ByName(name + "."); got != h {
				t.Fatalf("ByName(%q): got another host than %s", name+".", h.Name)
			}
		}
	}
	if got := w.ByName("nobody.test."); got != nil {
		t.Errorf("ByName of a strange name: got %s", got.Name)
	}
}

func TestSlot_IsTheInverseOfTheAddressPlan(t *testing.T) {
	w := mustNew(t, "web", 1)
	seen := map[netip.Addr]string{}
	for _, h := range w.Hosts {
		addrs := append(append([]Addr{}, h.V4...), h.V6...)
		if h.Moved != nil {
			addrs = append(addrs, *h.Moved)
		}
		for _, a := range addrs {
			if other, ok := seen[a.IP]; ok {
				t.Fatalf("%s: both %s and %s have it", a.IP, other, h.Name)
			}
			seen[a.IP] = h.Name
			slot := Slot(a.IP)
			if a.IP.Is4() && slot != firstV4Slot+h.Index*slotsPerHost+slot%slotsPerHost {
				t.Errorf("Slot(%s) of %s: got %d", a.IP, h.Name, slot)
			}
			if a.IP.Is6() && slot != h.Index*slotsPerHost+1 {
				t.Errorf("Slot(%s) of %s: got %d", a.IP, h.Name, slot)
			}
			if a.IP.Is6() && slot >= V6Slots(len(w.Hosts)) {
				t.Errorf("Slot(%s): got %d, over V6Slots %d", a.IP, slot, V6Slots(len(w.Hosts)))
			}
		}
	}
	for _, ip := range []string{"192.0.2.1", "198.20.0.0", "2001:db8:1001::1", "2001:db8:1000:0:ffff::1", "::ffff:198.18.4.0"} {
		if got := Slot(netip.MustParseAddr(ip)); got != -1 {
			t.Errorf("Slot(%s): got %d, want -1", ip, got)
		}
	}
}

func TestFloor_FirstVisitPaysForDNSAndConnection(t *testing.T) {
	w := &World{
		Scenario: Scenario{ResolverRTT: [2]float64{8, 14}},
		Hosts: []*Host{
			{Index: 0, ColdA: 70 * time.Millisecond, ColdAAAA: 50 * time.Millisecond, RTT4: 40 * time.Millisecond, RTT6: 30 * time.Millisecond,
				V6: []Addr{{IP: v6Slot(0, 0), Treatment: Deliver}}},
			{Index: 1, Warm: true, ColdA: 70 * time.Millisecond, RTT4: 40 * time.Millisecond, Closes: true},
		},
		Work: []int32{0, 1},
	}
	const ms = time.Millisecond
	tests := []struct {
		url                  int
		first                bool
		dns, connect, server time.Duration
	}{
		{0, true, 58 * ms, 30 * ms, 30 * ms}, // the nearer family, and its look-up
		{0, false, 0, 0, 30 * ms},
		{1, true, 8 * ms, 40 * ms, 40 * ms}, // the resolver knows the answer
		{1, false, 0, 40 * ms, 40 * ms},     // the host closes each connection
	}
	for _, tt := range tests {
		dns, connect, server := w.Floor(tt.url, tt.first)
		if dns != tt.dns || connect != tt.connect || server != tt.server {
			t.Errorf("Floor(%d, %v): got %v %v %v, want %v %v %v", tt.url, tt.first, dns, connect, server, tt.dns, tt.connect, tt.server)
		}
	}
}

func TestLoad_FileHoldsOnlyWhatDiffersFromItsBase(t *testing.T) {
	write := func(content string) string {
		name := filepath.Join(t.TempDir(), "own.json")
		if err := os.WriteFile(name, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	name := write(`{"base":"lossy","syn_loss":0.5}`)
	got, err := Load(name)
	if err != nil {
		t.Fatal(err)
	}
	want := Scenarios()["lossy"]
	want.Name, want.SynLoss = name, 0.5
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for content, want := range map[string]string{
		`{`:                 `unexpected end`,
		`{"base":"nosuch"}`: `no base "nosuch"`,
		`{"hosts":"many"}`:  `hosts`,
	} {
		if _, err := Load(write(content)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Load of %s: got error %v, want one with %q", content, err, want)
		}
	}
	if _, err := Load("nosuch"); err == nil || !strings.Contains(err.Error(), `no scenario "nosuch"`) {
		t.Errorf("Load of no file: got error %v", err)
	}
}
