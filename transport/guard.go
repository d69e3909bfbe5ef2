package transport

import "net/netip"

// A special range of addresses that is not on the public Internet.
type special struct {
	prefix netip.Prefix
	rule   string
}

// specials are the IANA special-purpose address registries (IPv4 and IPv6,
// as of 2025-10), as far as they are not globally reachable, and the ranges
// inside 2000::/3 that embed other addresses.
var specials = []special{
	{netip.MustParsePrefix("0.0.0.0/8"), "this network (RFC 791)"},
	{netip.MustParsePrefix("10.0.0.0/8"), "private use (RFC 1918)"},
	{netip.MustParsePrefix("100.64.0.0/10"), "shared address space (RFC 6598)"},
	{netip.MustParsePrefix("127.0.0.0/8"), "loopback (RFC 1122)"},
	{netip.MustParsePrefix("168.63.129.16/32"), "cloud metadata (Azure)"},
	{netip.MustParsePrefix("169.254.0.0/16"), "link local (RFC 3927)"},
	{netip.MustParsePrefix("172.16.0.0/12"), "private use (RFC 1918)"},
	{netip.MustParsePrefix("192.0.0.0/24"), "IETF protocol assignments (RFC 6890)"},
	{netip.MustParsePrefix("192.0.2.0/24"), "documentation (RFC 5737)"},
	{netip.MustParsePrefix("192.88.99.0/24"), "6to4 relay anycast (RFC 7526)"},
	{netip.MustParsePrefix("192.168.0.0/16"), "private use (RFC 1918)"},
	{netip.MustParsePrefix("198.18.0.0/15"), "benchmarking (RFC 2544)"},
	{netip.MustParsePrefix("198.51.100.0/24"), "documentation (RFC 5737)"},
	{netip.MustParsePrefix("203.0.113.0/24"), "documentation (RFC 5737)"},
	{netip.MustParsePrefix("224.0.0.0/4"), "multicast (RFC 5771)"},
	{netip.MustParsePrefix("240.0.0.0/4"), "reserved (RFC 1112)"},
	{netip.MustParsePrefix("2001::/23"), "IETF protocol assignments, Teredo (RFC 2928, RFC 4380)"},
	{netip.MustParsePrefix("2001:db8::/32"), "documentation (RFC 3849)"},
	{netip.MustParsePrefix("2002::/16"), "6to4 (RFC 3056)"},
	{netip.MustParsePrefix("3fff::/20"), "documentation (RFC 9637)"},
}

var globalUnicast = netip.MustParsePrefix("2000::/3") // RFC 4291, section 2.4

// denies returns the rule that forbids connecting to a, or "".
func (t *Transport) denies(a netip.Addr) string {
	if !t.opt.PublicOnly {
		return ""
	}
	if a.Zone() != "" {
		return "address with a zone (RFC 4007)"
	}
	if a.Is6() && !globalUnicast.Contains(a) {
		// Among them every way to embed an IPv4 address outside 2002::/16
		// and 2001::/32: mapped, compatible, translated, NAT64.
		return "not global unicast (RFC 4291)"
	}
	for _, s := range specials {
		if s.prefix.Contains(a) {
			return s.rule
		}
	}
	return ""
}
