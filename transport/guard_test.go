package transport

import (
	"net/netip"
	"testing"
)

func TestGuard(t *testing.T) {
	guard := &Transport{opt: Options{PublicOnly: true}}
	for _, tt := range []struct {
		addr string
		rule string // "" for an address on the public Internet
	}{
		{"1.1.1.1", ""},
		{"8.8.8.8", ""},
		{"9.255.255.255", ""},
		{"11.0.0.0", ""},
		{"100.63.255.255", ""},
		{"100.128.0.0", ""},
		{"126.255.255.255", ""},
		{"128.0.0.1", ""},
		{"168.63.129.15", ""},
		{"169.253.255.255", ""},
		{"172.15.255.255", ""},
		{"172.32.0.0", ""},
		{"192.0.1.0", ""},
		{"192.167.255.255", ""},
		{"192.169.0.0", ""},
		{"198.17.255.255", ""},
		{"198.20.0.0", ""},
		{"223.255.255.255", ""},
		{"2606:4700:4700::1111", ""},
		{"2001:4860:4860::8888", ""},
		{"2001:200::1", ""},
		{"2003::1", ""},
		{"3ffe:ffff::1", ""},

		{"0.0.0.0", "this network (RFC 791)"},
		{"0.1.2.3", "this network (RFC 791)"},
		{"10.0.0.1", "private use (RFC 1918)"},
		{"10.255.255.255", "private use (RFC 1918)"},
		{"100.64.0.0", "shared address space (RFC 6598)"},
		{"100.127.255.255", "shared address space (RFC 6598)"},
		{"100.100.100.200", "shared address space (RFC 6598)"}, // Alibaba's metadata
		{"127.0.0.1", "loopback (RFC 1122)"},
		{"127.255.255.255", "loopback (RFC 1122)"},
		{"168.63.129.16", "cloud metadata (Azure)"},
		{"169.254.169.254", "link local (RFC 3927)"}, // most clouds' metadata
		{"172.16.0.1", "private use (RFC 1918)"},
		{"172.31.255.255", "private use (RFC 1918)"},
		{"192.0.0.192", "IETF protocol assignments (RFC 6890)"}, // Oracle's metadata
		{"192.0.2.1", "documentation (RFC 5737)"},
		{"192.88.99.1", "6to4 relay anycast (RFC 7526)"},
		{"192.168.1.1", "private use (RFC 1918)"},
		{"198.18.0.1", "benchmarking (RFC 2544)"},
		{"198.19.255.255", "benchmarking (RFC 2544)"},
		{"198.51.100.1", "documentation (RFC 5737)"},
		{"203.0.113.1", "documentation (RFC 5737)"},
		{"224.0.0.1", "multicast (RFC 5771)"},
		{"239.255.255.255", "multicast (RFC 5771)"},
		{"240.0.0.1", "reserved (RFC 1112)"},
		{"255.255.255.255", "reserved (RFC 1112)"},

		{"::", "not global unicast (RFC 4291)"},
		{"::1", "not global unicast (RFC 4291)"},
		{"::ffff:10.0.0.1", "not global unicast (RFC 4291)"},
		{"::ffff:8.8.8.8", "not global unicast (RFC 4291)"},    // mapped: a real answer has an A record
		{"::10.0.0.1", "not global unicast (RFC 4291)"},        // compatible
		{"::ffff:0:10.0.0.1", "not global unicast (RFC 4291)"}, // SIIT
		{"64:ff9b::10.0.0.1", "not global unicast (RFC 4291)"}, // NAT64
		{"64:ff9b:1::1", "not global unicast (RFC 4291)"},
		{"100::1", "not global unicast (RFC 4291)"}, // discard-only
		{"4000::1", "not global unicast (RFC 4291)"},
		{"5f00::1", "not global unicast (RFC 4291)"}, // SRv6 SIDs
		{"fc00::1", "not global unicast (RFC 4291)"},
		{"fd00:ec2::254", "not global unicast (RFC 4291)"}, // AWS's metadata
		{"fe80::1", "not global unicast (RFC 4291)"},
		{"fec0::1", "not global unicast (RFC 4291)"},
		{"ff02::1", "not global unicast (RFC 4291)"},
		{"2001::1", "IETF protocol assignments, Teredo (RFC 2928, RFC 4380)"},
		{"2001:0:a00:1::1", "IETF protocol assignments, Teredo (RFC 2928, RFC 4380)"},
		{"2001:1ff:ffff::1", "IETF protocol assignments, Teredo (RFC 2928, RFC 4380)"},
		{"2001:db8::1", "documentation (RFC 3849)"},
		{"2002:a00:1::1", "6to4 (RFC 3056)"},    // 10.0.0.1
		{"2002:c0a8:101::1", "6to4 (RFC 3056)"}, // 192.168.1.1
		{"2002:808:808::1", "6to4 (RFC 3056)"},
		{"3fff::1", "documentation (RFC 9637)"},
		{"fe80::1%eth0", "address with a zone (RFC 4007)"},
		{"2606:4700:4700::1111%eth0", "address with a zone (RFC 4007)"},
	} {
		if got := guard.denies(netip.MustParseAddr(tt.addr)); got != tt.rule {
			t.Errorf("%s: %q, want %q", tt.addr, got, tt.rule)
		}
		if got := new(Transport).denies(netip.MustParseAddr(tt.addr)); got != "" {
			t.Errorf("%s: %q without PublicOnly, want nothing", tt.addr, got)
		}
	}
}

// embedded are the IPv4 addresses that a may stand for: mapped, compatible
// and translated ones, NAT64's well-known prefix, 6to4 and Teredo's server and
// client.
func embedded(a netip.Addr) (list []netip.Addr) {
	if a.Is4() {
		return []netip.Addr{a}
	}
	b := a.As16()
	v4 := func(i int) { list = append(list, netip.AddrFrom4([4]byte(b[i:]))) }
	for _, p := range []struct {
		prefix string
		at     int
	}{{"::ffff:0:0/96", 12}, {"::/96", 12}, {"::ffff:0:0:0/96", 12}, {"64:ff9b::/96", 12}, {"2002::/16", 2}, {"2001::/32", 4}} {
		if netip.MustParsePrefix(p.prefix).Contains(a.WithZone("")) {
			v4(p.at)
		}
	}
	if netip.MustParsePrefix("2001::/32").Contains(a.WithZone("")) {
		list = append(list, netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	}
	return list
}

// FuzzGuard holds the guard to package net's own idea of what is not public,
// also for addresses inside others.
func FuzzGuard(f *testing.F) {
	for _, a := range []string{"8.8.8.8", "10.0.0.1", "2606:4700::1", "2002:a00:1::", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2001:0:7f00:1::", "fe80::1"} {
		f.Add(netip.MustParseAddr(a).AsSlice(), "")
	}
	f.Add(netip.MustParseAddr("fe80::1").AsSlice(), "eth0")
	guard := &Transport{opt: Options{PublicOnly: true}}
	f.Fuzz(func(t *testing.T, b []byte, zone string) {
		a, ok := netip.AddrFromSlice(b)
		if !ok {
			return
		}
		if zone != "" {
			a = a.WithZone(zone)
		}
		if guard.denies(a) != "" {
			return
		}
		for _, x := range append(embedded(a), a, a.Unmap()) {
			if rule := guard.denies(x); rule != "" {
				t.Errorf("%v is allowed, %v in it is denied: %s", a, x, rule)
			}
			if !x.IsValid() || x.Zone() != "" || x.IsLoopback() || x.IsPrivate() || x.IsLinkLocalUnicast() || x.IsMulticast() || x.IsUnspecified() || !x.IsGlobalUnicast() {
				t.Errorf("%v is allowed, though %v in it is not public", a, x)
			}
		}
	})
}
