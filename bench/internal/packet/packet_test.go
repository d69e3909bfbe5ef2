package packet

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

var pairs = []struct{ client, server netip.AddrPort }{
	{netip.MustParseAddrPort("192.0.2.1:40000"), netip.MustParseAddrPort("198.18.4.1:80")},
	{netip.MustParseAddrPort("[2001:db8:c::1]:40000"), netip.MustParseAddrPort("[2001:db8:1000::9]:443")},
}

var router = map[bool]netip.Addr{true: netip.MustParseAddr("198.51.100.254"), false: netip.MustParseAddr("2001:db8:5::fe")}

func TestParse_ReadsWhatSegmentMakes(t *testing.T) {
	for _, tt := range pairs {
		b := append(Segment(tt.client, tt.server, FIN|ACK, 7, 9), "data"...)
		want := Header{
			Source:          tt.client.Addr(),
			Destination:     tt.server.Addr(),
			Protocol:        TCP,
			SourcePort:      tt.client.Port(),
			DestinationPort: tt.server.Port(),
			Flags:           FIN | ACK,
			Sequence:        7,
			Payload:         4,
		}
		got, ok := Parse(b)
		if !ok || got != want {
			t.Errorf("got %+v %v, want %+v", got, ok, want)
		}
		if got.OpensConnection() {
			t.Errorf("%v: a FIN opens a connection", tt.server)
		}
		if _, ok := Parse(Segment(tt.client, tt.server, SYN, 7, 0)[:headerLenV4+headerLenTCP-1]); ok {
			t.Errorf("%v: half a header was taken", tt.server)
		}
	}
}

func TestParse_UDP(t *testing.T) {
	query := withHeader(pairs[0].client.Addr(), pairs[0].server.Addr(), UDP, []byte{0x9c, 0x40, 0, 53, 0, 11, 0, 0, 'a', 'b', 'c'})
	h, ok := Parse(query)
	if !ok || h.Protocol != UDP || h.SourcePort != 40000 || h.DestinationPort != 53 || h.Payload != 3 {
		t.Errorf("got %+v %v", h, ok)
	}
	if _, ok := Parse(query[:headerLenV4+7]); ok {
		t.Error("half a header was taken")
	}
}

func TestReset_AnswersASYN(t *testing.T) {
	for _, tt := range pairs {
		in, ok := Parse(Segment(tt.client, tt.server, SYN, 1<<32-1, 0))
		if !ok || !in.OpensConnection() {
			t.Fatalf("%v: the SYN was not understood: %+v", tt.server, in)
		}
		rst := Reset(in)
		want := Header{
			Source:          tt.server.Addr(),
			Destination:     tt.client.Addr(),
			Protocol:        TCP,
			SourcePort:      tt.server.Port(),
			DestinationPort: tt.client.Port(),
			Flags:           RST | ACK,
		}
		if got, ok := Parse(rst); !ok || got != want {
			t.Errorf("got %+v %v, want %+v", got, ok, want)
		}
		tcp := rst[len(rst)-headerLenTCP:]
		if got := binary.BigEndian.Uint32(tcp[tcpAck:]); got != 0 {
			t.Errorf("%v: acknowledged: got %d, want the sequence number plus one, which is 0", tt.server, got)
		}
		checkSums(t, rst)
	}
}

func TestUnreachable_QuotesThePacket(t *testing.T) {
	for _, tt := range pairs {
		for _, data := range []int{0, 1, 1400} {
			in := append(Segment(tt.client, tt.server, SYN, 1, 0), make([]byte, data)...)
			h, _ := Parse(in)
			from := router[h.Source.Is4()]
			out := Unreachable(h, in, from)
			got, ok := Parse(out)
			if !ok || got.Source != from || got.Destination != tt.client.Addr() {
				t.Errorf("%v: got %+v %v", tt.server, got, ok)
			}
			if len(out) > 1280 {
				t.Errorf("%v: %d bytes, more than the least MTU", tt.server, len(out))
			}
			_, quoted := split(out)
			if quoted = quoted[8:]; len(quoted) < 28 || !bytes.HasPrefix(in, quoted) {
				t.Errorf("%v: quotes %x", tt.server, quoted)
			}
			checkSums(t, out)
		}
	}
}

func split(b []byte) (header, payload []byte) {
	if b[0]>>4 == 4 {
		return b[:headerLenV4], b[headerLenV4:]
	}
	return b[:headerLenV6], b[headerLenV6:]
}

// checkSums: a sum that covers its own checksum is 0 (RFC 1071, section 1).
func checkSums(t *testing.T, b []byte) {
	t.Helper()
	h, _ := Parse(b)
	header, payload := split(b)
	var sum checksum
	if h.Protocol != ICMP {
		sum = pseudoHeader(h.Source, h.Destination, h.Protocol, len(payload))
	}
	sum.add(payload)
	if got := sum.value(); got != 0 {
		t.Errorf("%v: the checksum of protocol %d is off by %#x", h.Source, h.Protocol, got)
	}
	if h.Source.Is4() {
		sum = 0
		sum.add(header)
		if got := sum.value(); got != 0 {
			t.Errorf("%v: the checksum of the header is off by %#x", h.Source, got)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{0x4f})
	for _, p := range pairs {
		f.Add(Segment(p.client, p.server, SYN, 1, 0))
	}
	f.Fuzz(func(_ *testing.T, b []byte) {
		if h, ok := Parse(b); ok {
			Reset(h)
			Unreachable(h, b, router[h.Source.Is4()])
		}
	})
}
