package scenario

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
)

func TestAll_AreWhole(t *testing.T) {
	all := All()
	if len(all) != 43 {
		t.Errorf("scenarios: got %d; when one comes or goes, say so in README.md", len(all))
	}
	names := map[string]bool{}
	for _, s := range all {
		if names[s.Name] {
			t.Errorf("%s: there are two", s.Name)
		}
		names[s.Name] = true
		if s.Description == "" || len(s.Fetches) == 0 || s.Concurrency < 1 || len(s.Nameservers) == 0 {
			t.Errorf("%s: not whole: %+v", s.Name, s)
		}
		for _, h := range s.Fetches {
			if h >= len(s.Hosts) {
				t.Errorf("%s: host %d is fetched, of %d", s.Name, h, len(s.Hosts))
			}
		}
		for _, h := range s.Hosts {
			for _, i := range slices.Concat(h.V4, h.V6) {
				if i >= PoolSize {
					t.Errorf("%s: address %d of %d", s.Name, i, PoolSize)
				}
			}
		}
	}
}

func TestMemRecover_HealsAfterTenRequests(t *testing.T) {
	all := All()
	s := &all[slices.IndexFunc(all, func(s Scenario) bool { return s.Name == "mem-recover" })]
	for _, tt := range []struct {
		family, served int
		want           Fate
	}{{6, 0, Drop}, {6, 9, Drop}, {6, 10, Deliver}, {4, 0, Deliver}} {
		if got := s.PathTo(tt.family, 3, tt.served).Fate; got != tt.want {
			t.Errorf("IPv%d after %d requests: got %v, want %v", tt.family, tt.served, got, tt.want)
		}
	}
}

func TestFind_IsTheInverseOfServer(t *testing.T) {
	for _, family := range []int{4, 6} {
		networks := map[netip.Prefix]bool{}
		for index := range PoolSize {
			a := Server(family, index)
			f, i, ok := Find(a)
			if f != family || i != index || !ok {
				t.Errorf("%v: got %d %d %v, want %d %d", a, f, i, ok, family, index)
			}
			if !ServersV4.Contains(a) && !ServersV6.Contains(a) {
				t.Errorf("%v is in neither pool", a)
			}
			bits := 24
			if family == 6 {
				bits = 48
			}
			n, _ := a.Prefix(bits)
			if networks[n] {
				t.Errorf("%v is not alone in %v", a, n)
			}
			networks[n] = true
		}
	}
	for _, a := range []netip.Addr{{}, Nameserver4, Nameserver6, netip.MustParseAddr("198.18.40.1"), netip.MustParseAddr("2001:db8:1028::1"), netip.MustParseAddr("198.18.3.2")} {
		if f, i, ok := Find(a); ok {
			t.Errorf("%v: got %d %d", a, f, i)
		}
	}
}

func TestParseHostName_ReadsTheNamesOfURLs(t *testing.T) {
	s := &Scenario{Fetches: []int{0, 17}, TLS: true}
	url := s.URL(1, "1a2b")
	name, ok := strings.CutPrefix(strings.TrimSuffix(url, "/"), "https://")
	if !ok {
		t.Fatalf("got %q", url)
	}
	for _, name := range []string{name, name + ".", strings.ToUpper(name)} {
		if host, nonce, ok := ParseHostName(name); host != 17 || nonce != "1a2b" || !ok {
			t.Errorf("%q: got %d %q %v", name, host, nonce, ok)
		}
	}
	for _, name := range []string{"", ".", "h1-a.example", "h-a." + Zone, "x." + Zone, "h1." + Zone, Zone} {
		if host, nonce, ok := ParseHostName(name); ok {
			t.Errorf("%q: got %d %q", name, host, nonce)
		}
	}
}

func TestSweep_CountsFromTo(t *testing.T) {
	scenarios, err := Sweep("cad:0:400:200")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, s := range scenarios {
		got = append(got, s.Name)
	}
	if want := []string{"cad=0", "cad=200", "cad=400"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if p := scenarios[2].PathTo(6, 0, 0); p.RTT != 400*ms {
		t.Errorf("IPv6: got %+v, want an RTT of 400 ms", p)
	}
	if p := scenarios[2].PathTo(4, 0, 0); p != (Path{}) {
		t.Errorf("IPv4: got %+v, want all well", p)
	}
	if scenarios, err = Sweep("rd:5:5:1"); err != nil || len(scenarios) != 1 || scenarios[0].Hosts[0].AAAA.Delay != 5*ms {
		t.Errorf("got %+v %v, want an AAAA 5 ms late", scenarios, err)
	}
	for _, spec := range []string{"", "cad", "cad:1:2", "cad:1:2:0", "cad:-1:2:1", "ttl:1:2:1"} {
		if _, err := Sweep(spec); err == nil {
			t.Errorf("%q was taken", spec)
		}
	}
}
