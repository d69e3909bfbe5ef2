//go:build linux

package internet

import (
	"encoding/binary"
	"net/netip"
	"testing"
)

// tcpPacket makes a packet without options, data and checksums.
func tcpPacket(src, dst netip.AddrPort, flags byte, seq uint32) []byte {
	var b []byte
	if src.Addr().Is4() {
		b = make([]byte, 20)
		b[0], b[9] = 4<<4|5, protocolTCP
		binary.BigEndian.PutUint16(b[2:], 40)
		copy(b[12:], src.Addr().AsSlice())
		copy(b[16:], dst.Addr().AsSlice())
	} else {
		b = make([]byte, 40)
		b[0], b[6] = 6<<4, protocolTCP
		binary.BigEndian.PutUint16(b[4:], 20)
		copy(b[8:], src.Addr().AsSlice())
		copy(b[24:], dst.Addr().AsSlice())
	}
	tcp := make([]byte, tcpHeaderLen)
	binary.BigEndian.PutUint16(tcp[0:], src.Port())
	binary.BigEndian.PutUint16(tcp[2:], dst.Port())
	binary.BigEndian.PutUint32(tcp[tcpSeq:], seq)
	tcp[tcpOffset], tcp[tcpFlags] = 5<<4, flags
	return append(b, tcp...)
}

func TestResetFor_AnswersASYN(t *testing.T) {
	tests := []struct{ client, server string }{
		{"192.0.2.1:40000", "198.18.4.1:80"},
		{"[2001:db8:c::1]:40000", "[2001:db8:1000::9]:443"},
	}
	for _, tt := range tests {
		client, server := netip.MustParseAddrPort(tt.client), netip.MustParseAddrPort(tt.server)
		syn := tcpPacket(client, server, flagSYN, 1<<32-1)
		in, ok := parseIP(syn)
		if !ok || !in.isTCP(syn) {
			t.Fatalf("%s: the SYN was not understood: %+v", tt.server, in)
		}
		rst := resetFor(syn, in)
		h, ok := parseIP(rst)
		if !ok || !h.isTCP(rst) {
			t.Fatalf("%s: the RST was not understood: %x", tt.server, rst)
		}
		tcp := rst[h.length:]
		if h.src != server.Addr() || h.dst != client.Addr() ||
			binary.BigEndian.Uint16(tcp[0:]) != server.Port() || binary.BigEndian.Uint16(tcp[2:]) != client.Port() {
			t.Errorf("%s: the RST goes from %v to %v: %x", tt.server, h.src, h.dst, tcp)
		}
		if got := binary.BigEndian.Uint32(tcp[tcpAck:]); got != 0 {
			t.Errorf("%s: acknowledged: got %d, want the sequence number plus one, which is 0", tt.server, got)
		}
		if tcp[tcpFlags] != flagRST|flagACK {
			t.Errorf("%s: flags: got %#x", tt.server, tcp[tcpFlags])
		}
		// A sum that covers its own checksum is 0: RFC 1071, section 1.
		pseudo := checksum(protocolTCP + tcpHeaderLen)
		pseudo.add(h.src.AsSlice())
		pseudo.add(h.dst.AsSlice())
		pseudo.add(tcp)
		if got := pseudo.sum(); got != 0 {
			t.Errorf("%s: TCP checksum is off by %#x", tt.server, got)
		}
		if h.src.Is4() {
			header := checksum(0)
			header.add(rst[:h.length])
			if got := header.sum(); got != 0 {
				t.Errorf("%s: IP checksum is off by %#x", tt.server, got)
			}
		}
	}
}

func FuzzParseIP(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x4f})
	f.Add(tcpPacket(netip.MustParseAddrPort("192.0.2.1:1"), netip.MustParseAddrPort("198.18.4.1:80"), flagSYN, 1))
	f.Add(tcpPacket(netip.MustParseAddrPort("[2001:db8:c::1]:1"), netip.MustParseAddrPort("[2001:db8:1000::9]:80"), flagSYN, 1))
	f.Fuzz(func(_ *testing.T, b []byte) {
		if h, ok := parseIP(b); ok && h.isTCP(b) {
			resetFor(b, h)
		}
	})
}
