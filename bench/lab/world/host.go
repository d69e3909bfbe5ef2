package world

import (
	"net/netip"
	"time"
)

// Fate is the truth about a host: what a perfect client would report.
type Fate uint8

const (
	OK         Fate = iota
	NXDomain        // the name does not exist
	ServFail        // the resolver answers SERVFAIL
	DNSTimeout      // the resolver does not answer for this name
	Dead            // no address answers a SYN
	Refused         // every address answers with a RST
	Mute            // accepts a connection and never answers
)

var fateNames = [...]string{"ok", "nxdomain", "servfail", "dns-timeout", "dead", "refused", "mute"}

func (f Fate) String() string { return fateNames[f] }

// Treatment is what happens to packets sent to one address.
type Treatment uint8

const (
	Deliver Treatment = iota
	Drop
	Reset
)

// Addr is one address of a host.
type Addr struct {
	IP        netip.Addr
	Treatment Treatment
}

// Host is one web server and all that the world knows about its name.
type Host struct {
	Index int // also its rank: 0 is the most popular
	Name  string
	Fate  Fate
	CNAME []string // the chain of aliases, without the name itself
	V4    []Addr
	V6    []Addr
	Moved *Addr // the IPv4 address after the move, nil if it does not move

	TTL           uint32        // seconds, scaled
	Warm          bool          // the resolver has the answer before the crawl begins ...
	WarmTTL       uint32        // ... for so many seconds
	ColdA         time.Duration // the resolver's work for an answer it has never had
	ColdAAAA      time.Duration
	Refetch       time.Duration // ... for one whose TTL has run out
	ServFailFirst bool          // the first answer is SERVFAIL
	Truncated     bool          // UDP answers are

	RTT4, RTT6 time.Duration
	Think      time.Duration // request to first byte, inside the server
	Closes     bool          // sends Connection: close
	ShortIdle  bool          // closes idle connections early
}
