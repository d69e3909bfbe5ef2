package packet

import (
	"encoding/binary"
	"net/netip"
)

// Reset is the RST with which a closed port answers a TCP packet: RFC 9293,
// section 3.10.7.1.
func Reset(h Header) []byte {
	return Segment(netip.AddrPortFrom(h.Destination, h.DestinationPort), netip.AddrPortFrom(h.Source, h.SourcePort), RST|ACK, 0, h.Sequence+1)
}

// Segment is a TCP packet without options and data.
func Segment(source, destination netip.AddrPort, flags byte, sequence, acknowledged uint32) []byte {
	tcp := make([]byte, headerLenTCP)
	binary.BigEndian.PutUint16(tcp[0:], source.Port())
	binary.BigEndian.PutUint16(tcp[2:], destination.Port())
	binary.BigEndian.PutUint32(tcp[tcpSequence:], sequence)
	binary.BigEndian.PutUint32(tcp[tcpAck:], acknowledged)
	tcp[tcpOffset], tcp[tcpFlags] = headerLenTCP/4<<4, flags

	sum := pseudoHeader(source.Addr(), destination.Addr(), TCP, len(tcp))
	sum.add(tcp)
	binary.BigEndian.PutUint16(tcp[tcpChecksum:], sum.value())
	return withHeader(source.Addr(), destination.Addr(), TCP, tcp)
}

// Unreachable is the ICMP message by which a router says that it knows no way
// for a packet: RFC 792 and RFC 4443, section 3.1.
func Unreachable(h Header, original []byte, router netip.Addr) []byte {
	const checksumAt = 2
	if h.Source.Is4() {
		const hostUnreachable, quoted = 1, headerLenV4 + 8
		message := append([]byte{3, hostUnreachable, 0, 0, 0, 0, 0, 0}, original[:min(len(original), quoted)]...)
		sum := checksum(0)
		sum.add(message)
		binary.BigEndian.PutUint16(message[checksumAt:], sum.value())
		return withHeader(router, h.Source, ICMP, message)
	}
	const noRoute, quoted = 0, 1280 - headerLenV6 - 8 // the whole fits the least MTU
	message := append([]byte{1, noRoute, 0, 0, 0, 0, 0, 0}, original[:min(len(original), quoted)]...)
	sum := pseudoHeader(router, h.Source, ICMPv6, len(message))
	sum.add(message)
	binary.BigEndian.PutUint16(message[checksumAt:], sum.value())
	return withHeader(router, h.Source, ICMPv6, message)
}

func withHeader(source, destination netip.Addr, protocol byte, payload []byte) []byte {
	const hopLimit = 64
	if source.Is4() {
		h := make([]byte, headerLenV4, headerLenV4+len(payload))
		h[0] = 4<<4 | headerLenV4/4
		binary.BigEndian.PutUint16(h[2:], uint16(headerLenV4+len(payload)))
		h[8], h[9] = hopLimit, protocol
		copy(h[12:], source.AsSlice())
		copy(h[16:], destination.AsSlice())
		sum := checksum(0)
		sum.add(h)
		binary.BigEndian.PutUint16(h[10:], sum.value())
		return append(h, payload...)
	}
	h := make([]byte, headerLenV6, headerLenV6+len(payload))
	h[0] = 6 << 4
	binary.BigEndian.PutUint16(h[4:], uint16(len(payload)))
	h[6], h[7] = protocol, hopLimit
	copy(h[8:], source.AsSlice())
	copy(h[24:], destination.AsSlice())
	return append(h, payload...)
}

// checksum is the internet checksum, RFC 1071.
type checksum uint32

// pseudoHeader begins the checksum of what an IP packet carries: RFC 9293,
// section 3.1, and RFC 8200, section 8.1.
func pseudoHeader(source, destination netip.Addr, protocol byte, length int) checksum {
	sum := checksum(int(protocol) + length)
	sum.add(source.AsSlice())
	sum.add(destination.AsSlice())
	return sum
}

// add adds bytes; only the last piece may have an odd number of them.
func (c *checksum) add(b []byte) {
	for ; len(b) >= 2; b = b[2:] {
		*c += checksum(b[0])<<8 | checksum(b[1])
	}
	if len(b) == 1 {
		*c += checksum(b[0]) << 8
	}
}

func (c checksum) value() uint16 {
	for c>>16 != 0 {
		c = c&0xffff + c>>16
	}
	return ^uint16(c)
}
