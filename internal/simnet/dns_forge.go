package simnet

import (
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// A Forgery is a packet that an attacker, or a broken middlebox, sends to the
// client in answer to a query. It does not travel over the server's link: it
// arrives Delay after the query did at the server, and before the true answer
// if the two are due at once.
//
// The addresses in its records are 203.0.113.66 and 2001:db8::66.
type Forgery struct {
	Kind  ForgeryKind
	Delay time.Duration

	// From is the source address: the server's own by default, and for
	// OtherPeer the server's with the next port.
	From netip.AddrPort
}

// A ForgeryKind says what is wrong with a forged packet.
type ForgeryKind int

const (
	// Garbage is three bytes that are no message.
	Garbage ForgeryKind = iota
	// EmptyDatagram is no bytes at all.
	EmptyDatagram
	// TruncatedBody is an answer with the last bytes cut off.
	TruncatedBody
	// WrongID is an answer to another ID.
	WrongID
	// WrongQuestion is an answer to another question.
	WrongQuestion
	// NotResponse is an answer whose QR bit says that it is a query.
	NotResponse
	// WrongOwner is an answer to the question whose record belongs to another
	// name.
	WrongOwner
	// OtherPeer is a good answer that comes from another address.
	OtherPeer
)

// forgedName is the name in a forged question or record.
const forgedName = "forged.invalid."

// The addresses in forged records.
var (
	forgedAddr4 = netip.AddrFrom4([4]byte{203, 0, 113, 66})
	forgedAddr6 = netip.MustParseAddr("2001:db8::66")
)

// source returns the address the packet comes from.
func (f Forgery) source(server netip.AddrPort) netip.AddrPort {
	switch {
	case f.From.IsValid():
		return f.From
	case f.Kind == OtherPeer:
		return netip.AddrPortFrom(server.Addr(), server.Port()+1)
	}
	return server
}

// packet returns the bytes of the packet.
func (f Forgery) packet(query *dns.Msg) []byte {
	switch f.Kind {
	case Garbage:
		return []byte{0xde, 0xad, 0xbe}
	case EmptyDatagram:
		return []byte{}
	}
	m := new(dns.Msg).SetReply(query)
	m.RecursionAvailable = true
	asked := query.Question[0]
	owner := asked.Name
	switch f.Kind {
	case WrongID:
		m.Id ^= 0x5555
	case WrongQuestion:
		m.Question = []dns.Question{{Name: forgedName, Qtype: asked.Qtype, Qclass: asked.Qclass}}
		owner = forgedName
	case NotResponse:
		m.Response = false
	case WrongOwner:
		owner = forgedName
	}
	asked.Name = owner
	m.Answer = addrRecords(asked, 86400, []netip.Addr{forgedAddr4, forgedAddr6})
	b, err := m.Pack()
	if err != nil {
		panic(err)
	}
	if f.Kind == TruncatedBody {
		b = b[:len(b)-5]
	}
	return b
}

// delayed reports whether one of the packets has a delay.
func delayed(forge []Forgery) bool {
	return slices.ContainsFunc(forge, func(f Forgery) bool { return f.Delay > 0 })
}
