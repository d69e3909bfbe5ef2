// Package record is what was seen of one run of a client: by the router, by
// the servers, and on its standard output. Nothing in it is judged yet.
package record

import (
	"net/netip"
	"time"
)

// A Run is all that was seen.
type Run struct {
	Start, End time.Time
	Nonce      string // in the names that were to be fetched
	Exit       string // why the client's process failed; empty if it did not
	Output     string // the client's, standard output
	Errors     string // ... and standard error
	Packets    []Packet
	Queries    []Query
	Requests   []Request
}

// A Packet went past the router.
type Packet struct {
	At         time.Time // when it came from the client, or went to it
	ToServer   bool
	Protocol   byte
	Server     netip.Addr
	ClientPort uint16
	ServerPort uint16
	Flags      byte // of TCP
	Payload    int
	Question   string // the type that a DNS query over UDP asks for
	Dropped    bool   // the router has let it fall
}

// A Query came to the nameserver.
type Query struct {
	Name, Type string
	ClientPort uint16
	Asked      time.Time
	Answered   time.Time // zero: never
	Rcode      string
	Records    int
	TCP        bool
}

// A Request came to a web server.
type Request struct {
	At         time.Time
	Host       string
	Server     netip.Addr
	ClientPort uint16
}
