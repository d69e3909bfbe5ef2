package loopnet

import "slices"

// A Fate is what is wrong with a host, if anything.
type Fate string

const (
	// Hosts in order, in the ways hosts are.
	Healthy   Fate = "healthy"       // one IPv4 address, http
	HTTPS     Fate = "https"         // https with a certificate of RootCAs, HTTP/1.1 and HTTP/2
	DualStack Fate = "dual-stack"    // ::1 and an IPv4 address, http
	Alias     Fate = "alias"         // a chain of two CNAMEs before the address: RFC 1034, section 3.6.2
	Truncated Fate = "dns-truncated" // the answer does not fit into UDP: RFC 7766, section 5

	// Hosts with a fault that a browser overcomes.
	SlowDNS    Fate = "slow-dns"    // the first answer takes Options.SlowDNS
	SlowHeader Fate = "slow-header" // every response takes Options.SlowHeader
	DeadFirst  Fate = "dead-first"  // two IPv4 addresses, and the first one in the answer is dead
	DeadIPv6   Fate = "dead-ipv6"   // ::1, where nothing ever connects, and a good IPv4 address

	// Hosts whose name does not resolve.
	NXDomain  Fate = "nxdomain"   // the name does not exist
	NoData    Fate = "nodata"     // the name exists and has no address
	ServFail  Fate = "servfail"   // the nameserver fails
	DNSSilent Fate = "dns-silent" // the nameserver does not answer

	// Hosts that cannot be reached or do not do their work.
	Refused   Fate = "refused"      // the port is closed
	BlackHole Fate = "black-hole"   // connecting never ends
	Mute      Fate = "mute"         // accepts, and never answers
	Closed    Fate = "closed"       // reads the request and closes the connection
	NotTLS    Fate = "not-tls"      // an https URL whose port speaks plain http
	Expired   Fate = "expired-cert" // https with a certificate that has expired
)

var fates = []Fate{
	Healthy, HTTPS, DualStack, Alias, Truncated,
	SlowDNS, SlowHeader, DeadFirst, DeadIPv6,
	NXDomain, NoData, ServFail, DNSSilent,
	Refused, BlackHole, Mute, Closed, NotTLS, Expired,
}

// broken is where the hosts begin that give nobody a page.
var broken = slices.Index(fates, NXDomain)

// Fates returns every Fate, the hosts that give pages first.
func Fates() []Fate { return slices.Clone(fates) }

// OK reports whether somebody with a browser and a little patience would see
// the pages of such a host.
func (f Fate) OK() bool {
	i := slices.Index(fates, f)
	return i >= 0 && i < broken
}
