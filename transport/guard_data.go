package transport

import (
	"net/netip"
	"slices"
)

// A special range of addresses and why it is not for a crawler.
type special struct {
	prefix netip.Prefix
	rule   string // "" for one that is on the public Internet
}

// specials is what PublicOnly goes by; the first row that contains an address
// decides. Its sources are the vendors' documentation of their metadata
// services, and for the rest the IANA special-purpose address registries of
// 2025-10-09 (iana.org/assignments/iana-ipv4-special-registry and
// iana-ipv6-special-registry): every row that is not globally reachable, and
// those reachable ones which are no hosts but services of the network that
// asks, or none at all (PCP, TURN, AMT and DNS-SD anycast, ORCHID, drones). Multicast and site-local
// addresses are in registries of their own.
var specials = parseSpecials([][2]string{
	{"169.254.169.254/32", "cloud metadata (AWS, Azure, Google Cloud, Oracle, DigitalOcean and others)"},
	{"169.254.170.2/32", "cloud metadata (AWS containers)"},
	{"169.254.170.23/32", "cloud metadata (AWS EKS)"},
	{"169.254.42.42/32", "cloud metadata (Scaleway)"},
	{"169.254.0.23/32", "cloud metadata (Tencent Cloud)"},
	{"100.100.100.200/32", "cloud metadata (Alibaba Cloud)"},
	{"168.63.129.16/32", "cloud metadata (Azure)"}, // a public address
	{"192.0.0.192/32", "cloud metadata (Oracle)"},
	{"fd00:ec2::254/128", "cloud metadata (AWS)"},
	{"fd00:ec2::23/128", "cloud metadata (AWS EKS)"},
	{"fd20:ce::254/128", "cloud metadata (Google Cloud)"},
	{"fd00:42::42/128", "cloud metadata (Scaleway)"},

	{"0.0.0.0/8", "this network (RFC 791)"},
	{"10.0.0.0/8", "private use (RFC 1918)"},
	{"100.64.0.0/10", "shared address space (RFC 6598)"},
	{"127.0.0.0/8", "loopback (RFC 1122)"},
	{"169.254.0.0/16", "link local (RFC 3927)"},
	{"172.16.0.0/12", "private use (RFC 1918)"},
	{"192.0.0.0/24", "IETF protocol assignments (RFC 6890)"},
	{"192.0.2.0/24", "documentation (RFC 5737)"},
	{"192.52.193.0/24", "AMT relay anycast (RFC 7450)"},
	{"192.88.99.0/24", "6to4 relay anycast (RFC 7526)"},
	{"192.168.0.0/16", "private use (RFC 1918)"},
	{"198.18.0.0/15", "benchmarking (RFC 2544)"},
	{"198.51.100.0/24", "documentation (RFC 5737)"},
	{"203.0.113.0/24", "documentation (RFC 5737)"},
	{"224.0.0.0/4", "multicast (RFC 5771)"},
	{"255.255.255.255/32", "limited broadcast (RFC 919)"},
	{"240.0.0.0/4", "reserved (RFC 1112)"},
	{"0.0.0.0/0", ""},

	{"::1/128", "loopback (RFC 4291)"},
	{"::/96", "IPv4-compatible (RFC 4291)"},
	{"::ffff:0:0:0/96", "IPv4-translated (RFC 2765)"},
	{"64:ff9b::/96", ""}, // NAT64 (RFC 6052): the IPv4 address in it decides
	{"64:ff9b:1::/48", "local-use NAT64 (RFC 8215)"},
	{"100::/64", "discard only (RFC 6666)"},
	{"2001::/32", "Teredo (RFC 4380)"},
	{"2001:4:112::/48", ""}, // AS112 (RFC 7535)
	{"2001::/23", "IETF protocol assignments (RFC 2928)"},
	{"2001:db8::/32", "documentation (RFC 3849)"},
	{"2002::/16", "6to4 (RFC 3056)"},
	{"3fff::/20", "documentation (RFC 9637)"},
	{"5f00::/16", "segment routing (RFC 9602)"},
	{"fc00::/7", "unique local (RFC 4193)"},
	{"fe80::/10", "link local (RFC 4291)"},
	{"fec0::/10", "site local (RFC 3879)"},
	{"ff00::/8", "multicast (RFC 4291)"},
	{"2000::/3", ""},
	{"::/0", "not global unicast (RFC 4291)"},
})

func parseSpecials(rows [][2]string) (list []special) {
	for _, r := range rows {
		list = append(list, special{netip.MustParsePrefix(r[0]), r[1]})
	}
	return list
}

// specialOf returns the row for an address without a zone.
func specialOf(a netip.Addr) special {
	return specials[slices.IndexFunc(specials, func(s special) bool { return s.prefix.Contains(a) })]
}

// embeddings are the ranges whose addresses stand for an IPv4 address, which
// begins at that byte. IPv4-mapped addresses are not among them: they are IPv4.
var embeddings = []struct {
	prefix  netip.Prefix
	at      int
	flipped bool
}{
	{netip.MustParsePrefix("::/96"), 12, false},           // IPv4-compatible: RFC 4291, section 2.5.5.1
	{netip.MustParsePrefix("::ffff:0:0:0/96"), 12, false}, // IPv4-translated: RFC 2765, section 2.1
	{netip.MustParsePrefix("64:ff9b::/96"), 12, false},    // NAT64: RFC 6052, section 2.1
	{netip.MustParsePrefix("2002::/16"), 2, false},        // 6to4: RFC 3056, section 2
	{netip.MustParsePrefix("2001::/32"), 4, false},        // Teredo's server: RFC 4380, section 4
	{netip.MustParsePrefix("2001::/32"), 12, true},        // and client
}

// embedded returns the IPv4 addresses that an IPv6 address stands for.
func embedded(a netip.Addr) (list []netip.Addr) {
	if !a.Is6() || a.IsLoopback() {
		return nil
	}
	for _, e := range embeddings {
		if !e.prefix.Contains(a) {
			continue
		}
		b := a.As16()
		inner := [4]byte(b[e.at:])
		if e.flipped {
			for i := range inner {
				inner[i] ^= 0xff
			}
		}
		list = append(list, netip.AddrFrom4(inner))
	}
	return list
}
