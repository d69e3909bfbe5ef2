package dnscache

import (
	"encoding/binary"
	"net/netip"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/miekg/dns"
)

// parseUsual reads the replies that nearly all are, straight from their
// bytes: aliases in order, each followed by the next, and the addresses of
// the last; or an SOA record for want of addresses; and no EDNS options. It
// returns false for all others, and whenever in doubt. What it returns is
// what parseAny would.
func parseUsual(reply []byte, f family) (r result, ok bool) {
	flags, answers := binary.BigEndian.Uint16(reply[2:]), int(binary.BigEndian.Uint16(reply[6:]))
	authority, additional := binary.BigEndian.Uint16(reply[8:]), binary.BigEndian.Uint16(reply[10:])
	off, ok := skipName(reply, headerSize)
	if off += 4; !ok || answers > maxCNAMEs+maxAddrs || authority > 1 || additional > 1 {
		return r, false
	}
	owners := make([]int, 1, maxCNAMEs+1) // where the names are, from the question's to the last alias's
	owners[0] = headerSize
	ttl := uint32(1<<31 - 1)
	var w wireRecord
	for range answers {
		if w, ok = readRecord(reply, off); !ok || !sameName(reply, w.owner, owners[len(owners)-1]) {
			return r, false
		}
		off = w.end
		ttl = min(ttl, saneTTL(w.ttl))
		switch {
		case w.rrtype == dns.TypeCNAME && len(r.addrs) == 0 && len(owners) < cap(owners):
			if end, ok := skipName(reply, w.data); !ok || end != w.end {
				return r, false
			}
			for _, o := range owners { // or it is a loop
				if sameName(reply, w.data, o) {
					return r, false
				}
			}
			owners = append(owners, w.data)
		case w.rrtype == f.qtype() && w.end-w.data == addrBytes(f) && len(r.addrs) < maxAddrs:
			if r.addrs == nil {
				r.addrs = make([]netip.Addr, 0, min(1+answers-len(owners), maxAddrs))
			}
			a, _ := netip.AddrFromSlice(reply[w.data:w.end])
			r.addrs = append(r.addrs, a)
		default:
			return r, false
		}
	}
	r.ttl = time.Duration(ttl) * time.Second

	var negative time.Duration
	if authority == 1 {
		if w, ok = readRecord(reply, off); !ok || w.rrtype != dns.TypeSOA {
			return r, false
		}
		minimum, ok := soaMinimum(reply, w)
		if !ok {
			return r, false
		}
		off, negative = w.end, boundNegative(min(saneTTL(minimum), saneTTL(w.ttl), ttl))
	}
	if additional == 1 && !plainOPT(reply, off) {
		return r, false
	}
	switch r.rcode = int(flags & 0xf); {
	case r.rcode == dns.RcodeSuccess && len(r.addrs) > 0:
		return r, true
	case r.rcode == dns.RcodeSuccess && negative > 0:
		r.kind = hostwise.DNSNoData
	case r.rcode == dns.RcodeNameError && negative > 0 && len(r.addrs) == 0:
		r.kind = hostwise.DNSNXDomain
		r.aliased = answers > 0
	default:
		return r, false
	}
	r.ttl = negative
	return r, true
}

// wireRecord is a resource record, by offsets: RFC 1035, section 4.1.3.
type wireRecord struct {
	owner, data, end int
	rrtype           uint16
	ttl              uint32
}

// readRecord reads the record at off, which must be of class IN.
func readRecord(msg []byte, off int) (w wireRecord, ok bool) {
	fixed, ok := skipName(msg, off)
	if !ok || len(msg) < fixed+10 || binary.BigEndian.Uint16(msg[fixed+2:]) != dns.ClassINET {
		return w, false
	}
	w = wireRecord{owner: off, data: fixed + 10, rrtype: binary.BigEndian.Uint16(msg[fixed:]), ttl: binary.BigEndian.Uint32(msg[fixed+4:])}
	w.end = w.data + int(binary.BigEndian.Uint16(msg[fixed+8:]))
	return w, w.end <= len(msg)
}

// soaMinimum returns the MINIMUM field of an SOA record: RFC 1035,
// section 3.3.13.
func soaMinimum(msg []byte, w wireRecord) (uint32, bool) {
	off, ok := skipName(msg, w.data)
	if ok {
		off, ok = skipName(msg, off)
	}
	if !ok || off+20 != w.end {
		return 0, false
	}
	return binary.BigEndian.Uint32(msg[off+16:]), true
}

// plainOPT reports whether the record at off is an OPT record without an
// extended RCODE and without options: RFC 6891, section 6.1.2.
func plainOPT(msg []byte, off int) bool {
	return len(msg) >= off+11 && msg[off] == 0 && binary.BigEndian.Uint16(msg[off+1:]) == dns.TypeOPT &&
		msg[off+5] == 0 && binary.BigEndian.Uint16(msg[off+9:]) == 0
}

const (
	pointerMask = 0xc0 // of a length that is none: RFC 1035, section 4.1.4
	maxNameSize = 255  // RFC 1035, section 2.3.4
)

// skipName returns the offset behind the name at off. Pointers must lead
// back and, since there may be many of them, count as part of the name.
func skipName(msg []byte, off int) (end int, ok bool) {
	for size := 1; off < len(msg) && size <= maxNameSize; {
		n := int(msg[off])
		if n&pointerMask == 0 {
			off += 1 + n
			size += 1 + n
			if n > 0 {
				continue
			}
			if end == 0 {
				end = off
			}
			return end, true
		}
		to, ok := pointer(msg, off)
		if !ok {
			return 0, false
		}
		if end == 0 {
			end = off + 2
		}
		off = to
		size += 2
	}
	return 0, false
}

// pointer returns where the pointer at off leads: back.
func pointer(msg []byte, off int) (to int, ok bool) {
	if len(msg) < off+2 || msg[off]&pointerMask != pointerMask {
		return 0, false
	}
	to = int(binary.BigEndian.Uint16(msg[off:]) &^ (pointerMask << 8))
	return to, to < off
}

// sameName compares two names that skipName has accepted.
func sameName(msg []byte, a, b int) bool {
	for {
		a, b = labelAt(msg, a), labelAt(msg, b)
		if a == b {
			return true
		}
		n := int(msg[a])
		if n != int(msg[b]) {
			return false
		}
		for i := 1; i <= n; i++ {
			if lower(msg[a+i]) != lower(msg[b+i]) {
				return false
			}
		}
		if n == 0 {
			return true
		}
		a, b = a+1+n, b+1+n
	}
}

// labelAt follows pointers to the next label.
func labelAt(msg []byte, off int) int {
	for msg[off]&pointerMask != 0 {
		off, _ = pointer(msg, off)
	}
	return off
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}
