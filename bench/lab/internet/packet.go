//go:build linux

package internet

import (
	"encoding/binary"
	"net/netip"
)

// ipHeader is what the router reads of an IP packet.
type ipHeader struct {
	src, dst netip.Addr
	protocol byte
	length   int // of the header
}

func parseIP(b []byte) (h ipHeader, ok bool) {
	switch {
	case len(b) >= 20 && b[0]>>4 == 4:
		return ipHeader{netip.AddrFrom4([4]byte(b[12:16])), netip.AddrFrom4([4]byte(b[16:20])), b[9], int(b[0]&15) * 4}, true
	case len(b) >= 40 && b[0]>>4 == 6:
		return ipHeader{netip.AddrFrom16([16]byte(b[8:24])), netip.AddrFrom16([16]byte(b[24:40])), b[6], 40}, true
	}
	return ipHeader{}, false
}

const (
	protocolTCP = 6

	// Offsets and flags of the TCP header: RFC 9293, section 3.1.
	tcpSeq       = 4
	tcpAck       = 8
	tcpOffset    = 12
	tcpFlags     = 13
	tcpChecksum  = 16
	tcpHeaderLen = 20

	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// isTCP reports whether the packet holds a whole TCP header.
func (h ipHeader) isTCP(packet []byte) bool {
	return h.protocol == protocolTCP && len(packet) >= h.length+tcpHeaderLen
}

// resetFor makes the RST with which a closed port answers a TCP packet: RFC
// 9293, section 3.10.7.1.
func resetFor(packet []byte, h ipHeader) []byte {
	out := make([]byte, h.length+tcpHeaderLen)
	copy(out, packet[:h.length])
	in, tcp := packet[h.length:], out[h.length:]
	copy(tcp[0:2], in[2:4]) // the ports change places
	copy(tcp[2:4], in[0:2])
	binary.BigEndian.PutUint32(tcp[tcpAck:], binary.BigEndian.Uint32(in[tcpSeq:])+1)
	tcp[tcpOffset] = tcpHeaderLen / 4 << 4
	tcp[tcpFlags] = flagRST | flagACK

	pseudo := checksum(protocolTCP + tcpHeaderLen) // RFC 9293, section 3.1, and RFC 8200, section 8.1
	if h.dst.Is4() {
		out[0] = 4<<4 | byte(h.length/4)
		binary.BigEndian.PutUint16(out[2:], uint16(len(out)))
		copy(out[12:16], packet[16:20])
		copy(out[16:20], packet[12:16])
		out[10], out[11] = 0, 0
		header := checksum(0)
		header.add(out[:h.length])
		binary.BigEndian.PutUint16(out[10:], header.sum())
		pseudo.add(out[12:20])
	} else {
		binary.BigEndian.PutUint16(out[4:], tcpHeaderLen)
		copy(out[8:24], packet[24:40])
		copy(out[24:40], packet[8:24])
		pseudo.add(out[8:40])
	}
	pseudo.add(tcp)
	binary.BigEndian.PutUint16(tcp[tcpChecksum:], pseudo.sum())
	return out
}

// checksum is the internet checksum, RFC 1071.
type checksum uint32

// add takes an even number of bytes.
func (c *checksum) add(b []byte) {
	for i := 0; i < len(b); i += 2 {
		*c += checksum(b[i])<<8 | checksum(b[i+1])
	}
}

func (c checksum) sum() uint16 {
	for c>>16 != 0 {
		c = c&0xffff + c>>16
	}
	return ^uint16(c)
}
