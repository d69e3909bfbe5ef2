package scenario

import (
	"net/netip"
	"time"
)

// A Scenario is one run of a client.
type Scenario struct {
	Name        string
	Description string
	Hosts       []Host
	Fetches     []int // the host of each fetch, in order; default: the first host once
	TLS         bool
	NoIPv6      bool                                 // the client has no IPv6 address and route
	Network     func(family, index, served int) Path // the path to a server's address, when so many requests were served; nil: all well
	Gap         time.Duration                        // between fetches
	Concurrency int                                  // fetches at a time, for clients that can; default 1
	Nameservers []netip.Addr                         // default: the one good server
}

// A Host is a name. Its addresses are indexes into the pool of each family, in
// the order of the answer.
type Host struct {
	V6, V4  []int
	AAAA, A Answer
}

// An Answer is how the nameserver answers one type of question. Zero: at once,
// with the addresses, or with NODATA if there are none.
type Answer struct {
	Delay  time.Duration
	Silent bool // no answer at all
	Rcode  int  // of the answer, which then has no addresses
	Times  int  // only so many queries meet silence and Rcode; 0: all
}

// A Path is what becomes of the packets to and from an address.
type Path struct {
	Fate         Fate
	RTT          time.Duration
	LoseFirstSYN bool
	LoseData     bool // connections are made, but what the server sends over them is lost
}

// A Fate is what meets the packets to an address.
type Fate int

const (
	Deliver     Fate = iota
	Drop             // nothing comes back
	Reset            // a RST answers each SYN: a closed port, or a firewall that says so
	Unreachable      // an ICMP message answers each packet
)

// PathTo is the path to an address of the pool.
func (s *Scenario) PathTo(family, index, served int) Path {
	if s.Network == nil {
		return Path{}
	}
	return s.Network(family, index, served)
}

// Port is the one that the client connects to.
func (s *Scenario) Port() uint16 {
	if s.TLS {
		return 443
	}
	return 80
}

// URL is that of a fetch. A nonce makes its name new to every cache.
func (s *Scenario) URL(fetch int, nonce string) string {
	scheme := "http"
	if s.TLS {
		scheme = "https"
	}
	return scheme + "://" + hostName(s.Fetches[fetch], nonce) + "/"
}
