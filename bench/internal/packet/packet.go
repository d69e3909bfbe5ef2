package packet

import (
	"encoding/binary"
	"net/netip"
)

// A Header is what a router reads of an IP packet.
type Header struct {
	Source, Destination netip.Addr
	Protocol            byte // TCP, UDP or any other

	SourcePort, DestinationPort uint16 // of TCP and UDP
	Flags                       byte   // of TCP
	Sequence                    uint32 // of TCP
	Payload                     int    // bytes that TCP or UDP carries
}

// Protocol numbers, as IANA has them.
const (
	ICMP   = 1
	TCP    = 6
	UDP    = 17
	ICMPv6 = 58
)

// Flags of TCP: RFC 9293, section 3.1.
const (
	FIN = 0x01
	SYN = 0x02
	RST = 0x04
	ACK = 0x10
)

const (
	headerLenV4  = 20 // RFC 791, section 3.1, without options
	headerLenV6  = 40 // RFC 8200, section 3
	headerLenUDP = 8  // RFC 768

	// The TCP header: RFC 9293, section 3.1.
	headerLenTCP = 20
	tcpSequence  = 4
	tcpAck       = 8
	tcpOffset    = 12
	tcpFlags     = 13
	tcpChecksum  = 16
)

// Parse reads a packet. It fails if a header is not whole.
func Parse(b []byte) (h Header, ok bool) {
	switch {
	case len(b) >= headerLenV4 && b[0]>>4 == 4:
		length := int(b[0]&15) * 4
		if length < headerLenV4 || length > len(b) {
			return Header{}, false
		}
		h = Header{Source: netip.AddrFrom4([4]byte(b[12:16])), Destination: netip.AddrFrom4([4]byte(b[16:20])), Protocol: b[9]}
		b = b[length:]
	case len(b) >= headerLenV6 && b[0]>>4 == 6:
		h = Header{Source: netip.AddrFrom16([16]byte(b[8:24])), Destination: netip.AddrFrom16([16]byte(b[24:40])), Protocol: b[6]}
		b = b[headerLenV6:]
	default:
		return Header{}, false
	}
	switch h.Protocol {
	case TCP:
		if len(b) < headerLenTCP {
			return Header{}, false
		}
		h.Sequence = binary.BigEndian.Uint32(b[tcpSequence:])
		h.Flags = b[tcpFlags]
		h.Payload = max(0, len(b)-int(b[tcpOffset]>>4)*4)
	case UDP:
		if len(b) < headerLenUDP {
			return Header{}, false
		}
		h.Payload = len(b) - headerLenUDP
	default:
		return h, true
	}
	h.SourcePort, h.DestinationPort = binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	return h, true
}

// OpensConnection reports whether this is the first packet of a TCP
// connection, or its retransmission.
func (h Header) OpensConnection() bool {
	return h.Protocol == TCP && h.Flags&(SYN|ACK) == SYN
}
