package crawl

// Kind is what a client could tell its user about one URL.
type Kind string

const (
	OK             Kind = "ok"
	NXDomain       Kind = "nxdomain"        // the name does not exist, or has no address
	ServFail       Kind = "servfail"        // the name server says that it failed
	DNSTimeout     Kind = "dns-timeout"     // no name server answered in time
	DNSOther       Kind = "dns-other"       // DNS, but which failure cannot be told
	Refused        Kind = "refused"         // connect: RST
	ConnectTimeout Kind = "connect-timeout" // connect: no answer
	Unreachable    Kind = "unreachable"     // connect: no route
	CircuitOpen    Kind = "circuit-open"    // not tried, the host is known to be bad
	HTTPTimeout    Kind = "http-timeout"    // connected, no response
	Timeout        Kind = "timeout"         // something timed out, it cannot be told what
	Other          Kind = "other"
	Unfinished     Kind = "unfinished" // never handed out; set by the report
)
