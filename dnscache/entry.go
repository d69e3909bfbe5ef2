package dnscache

import (
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
	"unicode/utf8"
	"unsafe"

	"github.com/hostwise-go/hostwise"
)

// An entry is what the cache knows of one name. It is a header and, right
// behind it in the same block of memory, the name and, by family, the
// addresses or the error. The block holds no pointers, so a million entries
// cost the garbage collector next to nothing. But for flags, it never changes
// once it is in the cache: an update makes a new one.
type entry struct {
	expires [2]int64      // by family; nanoseconds on the resolver's clock
	ttl     [2]uint32     // milliseconds: record.ttl
	flags   atomic.Uint32 // see below
	state   [2]state      // by family
	size    [2]uint8      // addresses, or bytes of an error
	name    uint8         // bytes
}

// state says what is known of one family.
type state uint8

const (
	unknown state = iota
	positive
	stale         // an expired answer, used again for want of a better: RFC 8767
	negative      // NXDOMAIN or NODATA
	failed        // SERVFAIL, time-outs and the like
	staleNegative // as stale, but NODATA
)

func (s state) hasAddrs() bool { return s == positive || s == stale }
func (s state) isStale() bool  { return s == stale || s == staleNegative }

const (
	flagUsed       = 1 << iota // since the eviction's hand last came by
	flagRefreshing             // a refresh ahead of the expiry was begun; one bit for each family
	_
)

const headerBytes = unsafe.Offsetof(entry{}.name) + 1

// A record is what is known of one name and family, or what was just
// learned. It is never changed once made, and its slice is never handed out.
type record struct {
	state   state
	addrs   []netip.Addr
	err     *hostwise.DNSError // nil, or why there are none
	aliased bool               // err is about a name that this one is an alias of
	expires int64              // on the resolver's clock
	ttl     time.Duration      // for how long it was taken in; of a stale answer: its age then
}

func (r *record) valid(now int64) bool { return r != nil && now < r.expires }

// covers reports whether the record answers for the other family too, of
// which nothing is known: a name that does not exist has no records at all
// (RFC 8020, section 2).
func (r *record) covers() bool { return r.err != nil && r.err.Kind == hostwise.DNSNXDomain }

// newEntry packs the records of a name; nil ones are unknown.
func newEntry(name string, records [2]*record) *entry { return (*entry)(nil).with(name, records) }

// with packs the records of a name; in the place of nil ones it takes what
// old, if not nil itself, knows.
func (old *entry) with(name string, records [2]*record) *entry {
	var data [2][]byte // what is in bytes already
	n := int(headerBytes) + len(name)
	for f, rec := range records {
		switch {
		case rec == nil && old == nil:
		case rec == nil:
			data[f] = old.data(family(f))
		case rec.err != nil:
			data[f] = packError(rec)
		default:
			n += len(rec.addrs) * addrBytes(family(f))
		}
		n += len(data[f])
	}
	block := make([]uint64, max((n+7)/8, (int(unsafe.Sizeof(entry{}))+7)/8)) // words, for the alignment of the header
	e := (*entry)(unsafe.Pointer(unsafe.SliceData(block)))
	e.name = uint8(len(name))
	rest := append(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(block))), len(block)*8)[headerBytes:headerBytes], name...)
	for i, rec := range records {
		f := family(i)
		rest = append(rest, data[f]...)
		switch {
		case rec == nil && old == nil:
			continue
		case rec == nil:
			e.state[f], e.expires[f], e.ttl[f], e.size[f] = old.state[f], old.expires[f], old.ttl[f], old.size[f]
			continue
		case rec.err != nil:
			e.size[f] = uint8(len(data[f]))
		default:
			e.size[f] = uint8(len(rec.addrs))
			for _, a := range rec.addrs {
				rest = appendAddr(rest, a)
			}
		}
		e.state[f], e.expires[f], e.ttl[f] = rec.state, rec.expires, uint32(rec.ttl.Milliseconds())
	}
	return e
}

// appendAddr appends the bytes of an address.
func appendAddr(b []byte, a netip.Addr) []byte {
	if a.Is4() {
		a4 := a.As4()
		return append(b, a4[:]...)
	}
	a16 := a.As16()
	return append(b, a16[:]...)
}

// addrBytes is the size of an address.
func addrBytes(f family) int { return [...]int{16, 4}[f] }

// answers reports whether the entry is still an answer for a family, be it
// that there are no addresses.
func (e *entry) answers(f family, now int64) bool {
	return now < e.expires[f] && e.state[f] != unknown && e.state[f] != failed
}

// addrs is the number of a family's addresses.
func (e *entry) addrs(f family) int {
	if e.state[f].hasAddrs() {
		return int(e.size[f])
	}
	return 0
}

// bytes is the size of a family's part of the block.
func (e *entry) bytes(f family) int {
	if e.state[f].hasAddrs() {
		return int(e.size[f]) * addrBytes(f)
	}
	return int(e.size[f])
}

// at returns what is in the block at an offset behind the header.
func (e *entry) at(offset int) unsafe.Pointer {
	return unsafe.Add(unsafe.Pointer(e), int(headerBytes)+offset)
}

// part returns n bytes of the block, from offset on behind the header.
func (e *entry) part(offset, n int) []byte {
	return unsafe.Slice((*byte)(e.at(offset)), n)
}

// is reports whether the entry is about name.
func (e *entry) is(name string) bool {
	return int(e.name) == len(name) && string(e.part(0, int(e.name))) == name
}

func (e *entry) host() string { return string(e.part(0, int(e.name))) }

// data is a family's part of the block; nil if it is empty, for its place may
// be the end of the block, where another begins.
func (e *entry) data(f family) []byte {
	n := e.bytes(f)
	switch {
	case n == 0:
		return nil
	case f == v6:
		return e.part(int(e.name), n)
	}
	return e.part(int(e.name)+e.bytes(v6), n)
}

// blockBytes is the size of the whole block.
func (e *entry) blockBytes() int {
	return (int(headerBytes) + e.bytes(v6) + e.bytes(v4) + int(e.name) + 7) / 8 * 8
}

// appendAddrs appends a family's addresses to dst.
func (e *entry) appendAddrs(dst []netip.Addr, f family) []netip.Addr {
	n := e.addrs(f)
	switch {
	case n == 0: // as in data
	case f == v6:
		for _, a := range unsafe.Slice((*[16]byte)(e.at(int(e.name))), n) {
			dst = append(dst, netip.AddrFrom16(a))
		}
	default:
		for _, a := range unsafe.Slice((*[4]byte)(e.at(int(e.name)+e.bytes(v6))), n) {
			dst = append(dst, netip.AddrFrom4(a))
		}
	}
	return dst
}

// record unpacks a family; nil if nothing is known of it.
func (e *entry) record(f family) *record {
	r := &record{state: e.state[f], expires: e.expires[f], ttl: time.Duration(e.ttl[f]) * time.Millisecond}
	switch e.state[f] {
	case unknown:
		return nil
	case positive, stale:
		r.addrs = e.appendAddrs(nil, f)
	default:
		r.err, r.aliased = unpackError(e.host(), e.data(f))
	}
	return r
}

func (e *entry) used() { // most often it is: do not write to a shared cache line
	if e.flags.Load()&flagUsed == 0 {
		e.flags.Or(flagUsed)
	}
}

// takeRefresh reports whether it is up to the caller to refresh f ahead of
// its expiry: in the last tenth of its time, once.
func (e *entry) takeRefresh(f family, now int64) bool {
	ahead := int64(e.ttl[f]) * int64(time.Millisecond/10)
	if e.state[f] != positive || now < e.expires[f]-ahead || now >= e.expires[f] {
		return false
	}
	bit := uint32(flagRefreshing) << f
	return e.flags.Load()&bit == 0 && e.flags.Or(bit)&bit == 0
}

// errorKinds are the Kinds of errors that are remembered, by the number that
// stands for them in an entry, and in snapshots: new ones go to the end.
var errorKinds = [...]hostwise.Kind{
	hostwise.DNSNXDomain, hostwise.DNSNoData, hostwise.DNSServFail, hostwise.DNSRefused, hostwise.DNSFormErr,
	hostwise.DNSLame, hostwise.DNSBogus, hostwise.DNSBlocked, hostwise.DNSTimeout, hostwise.DNSServerUnreachable,
	hostwise.DNSTruncated, hostwise.DNSMalformed, hostwise.DNSCNAMELoop,
}

const (
	maxErrorBytes = 255
	maxEDEs       = 3
)

const (
	errorAnswered = 1 << iota // the one name that follows the extended errors is DNSError.Server
	errorAliased              // record.aliased
)

// packError writes an error down in at most maxErrorBytes: the number of its
// Kind, its RCODE, its extended errors and who gave it or was asked. What
// does not fit is left out; the cause is.
func packError(rec *record) []byte {
	e := rec.err
	edes := e.EDE[:min(len(e.EDE), maxEDEs)]
	b := []byte{byte(slices.Index(errorKinds[:], e.Kind)), byte(e.Rcode >> 8), byte(e.Rcode), byte(len(edes)), 0}
	for _, x := range edes {
		b = append(b, byte(x.Code>>8), byte(x.Code))
		b = appendText(b, x.Text, 48)
	}
	if rec.aliased {
		b[4] |= errorAliased
	}
	if e.Server != "" {
		b[4] |= errorAnswered
		return appendText(b, e.Server, maxErrorBytes-1-len(b))
	}
	for _, s := range e.Asked {
		if len(b)+1+len(s) <= maxErrorBytes {
			b = appendText(b, s, maxErrorBytes)
		}
	}
	return b
}

// appendText appends s behind its length, cut to a number of bytes, but not
// within a character.
func appendText(b []byte, s string, most int) []byte {
	n := min(len(s), most)
	for n > 0 && n < len(s) && !utf8.RuneStart(s[n]) {
		n--
	}
	return append(append(b, byte(n)), s[:n]...)
}

// unpackError is the reverse of packError.
func unpackError(host string, b []byte) (e *hostwise.DNSError, aliased bool) {
	e = &hostwise.DNSError{Host: host, Kind: errorKinds[b[0]], Rcode: int(b[1])<<8 | int(b[2])}
	edes, flags := b[3], b[4]
	b = b[5:]
	text := func() (s string) {
		s, b = string(b[1:1+b[0]]), b[1+b[0]:]
		return s
	}
	for range edes {
		code := uint16(b[0])<<8 | uint16(b[1])
		b = b[2:]
		e.EDE = append(e.EDE, hostwise.EDE{Code: code, Text: text()})
	}
	for len(b) > 0 {
		e.Asked = append(e.Asked, text())
	}
	if flags&errorAnswered != 0 {
		e.Server, e.Asked = e.Asked[0], nil
	}
	return e, flags&errorAliased != 0
}

// isPackedError reports whether packError could have written b.
func isPackedError(b []byte) bool {
	if len(b) < 5 || int(b[0]) >= len(errorKinds) || b[3] > maxEDEs || b[4]&^(errorAnswered|errorAliased) != 0 {
		return false
	}
	edes, answered := int(b[3]), b[4]&errorAnswered != 0
	names := 0
	for b = b[5:]; edes > 0 || len(b) > 0; edes-- {
		if edes > 0 {
			if len(b) < 2 {
				return false
			}
			b = b[2:]
		} else {
			names++
		}
		if len(b) == 0 || len(b) < 1+int(b[0]) {
			return false
		}
		b = b[1+int(b[0]):]
	}
	return !answered || names == 1
}
