package dnscache

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/netip"
	"strconv"
	"time"
)

// A snapshot is this line, an entry for each name, a zero byte and the
// SHA-256 of all that. An entry is the name behind its length in a byte, and
// for each family a byte with its state and, if that is not unknown: the
// expiry (8 bytes, Unix milliseconds), the TTL (4 bytes, milliseconds), a
// byte with the number of addresses or the size of the error, and these.
// Numbers are big-endian; errors are those of packError.
const snapshotHeader = "hostwise dnscache 1\n"

// Snapshot writes the cache's answers to w, positive and negative ones, so
// that a later process can begin with them: see Restore. Failures are left
// out. The cache stays in use meanwhile; what is learned after the call may
// be missing. An error is w's.
func (r *Resolver) Snapshot(w io.Writer) error {
	sum := sha256.New()
	out := bufio.NewWriter(io.MultiWriter(w, sum))
	_, _ = out.WriteString(snapshotHeader) // Flush reports any error
	var buf []byte
	now, wall := r.clock.exact(), time.Now()
	for e := range r.cache.table.Load().all {
		if buf = r.appendSnapshot(buf[:0], e, now, wall); len(buf) > 0 {
			if _, err := out.Write(buf); err != nil {
				return fmt.Errorf("dnscache: snapshot: %w", err)
			}
		}
	}
	_ = out.WriteByte(0)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("dnscache: snapshot: %w", err)
	}
	if _, err := w.Write(sum.Sum(nil)); err != nil {
		return fmt.Errorf("dnscache: snapshot: %w", err)
	}
	return nil
}

// appendSnapshot appends an entry, if there is anything in it to keep. now and
// wall are the same moment.
func (r *Resolver) appendSnapshot(b []byte, e *entry, now int64, wall time.Time) []byte {
	name := e.host()
	b = append(append(b, byte(len(name))), name...)
	kept := false
	for f := range e.state {
		rec := e.record(family(f))
		st := unknown
		switch {
		case rec == nil || rec.state == failed || !rec.valid(now) && !r.usableStale(rec, now):
		case rec.err != nil:
			st = negative
		default:
			st = positive
		}
		b = append(b, byte(st))
		if st == unknown {
			continue
		}
		kept = kept || rec.isOfUse(now)
		b = binary.BigEndian.AppendUint64(b, uint64(wall.Add(-rec.staleAge(now)).UnixMilli()))
		b = binary.BigEndian.AppendUint32(b, uint32(rec.ttl.Milliseconds()))
		b = append(b, e.size[f])
		b = append(b, e.data(family(f))...)
	}
	if !kept {
		return b[:0]
	}
	return b
}

// Restore takes in what Snapshot has written, in this process or another.
// Answers keep their time of expiry; those that are past it are there for
// when no nameserver answers, within MaxStale. What the cache knows already
// stays, and of more than MaxHosts names the first are taken. Input that is damaged, cut short or no snapshot is an error, and
// nothing of it is taken in.
func (r *Resolver) Restore(rd io.Reader) error {
	in := &snapshotReader{in: bufio.NewReader(rd), sum: sha256.New(), r: r, now: r.clock.exact(), wall: time.Now()}
	entries, err := in.readAll()
	if err != nil {
		return fmt.Errorf("dnscache: restore: %w; nothing was taken in", err)
	}
	for _, e := range entries {
		if !r.isStatic(e.host()) {
			r.cache.restore(e, in.now)
		}
	}
	return nil
}

var (
	errNoSnapshot = errors.New("not a snapshot of this version, which begins with the line " + strconv.Quote(snapshotHeader))
	errCutShort   = errors.New("the snapshot is cut short")
	errDamaged    = errors.New("the snapshot is damaged")
)

// A snapshotReader reads a snapshot. After an error it reads zeros.
type snapshotReader struct {
	in   *bufio.Reader
	sum  hash.Hash
	r    *Resolver
	now  int64     // on the resolver's clock
	wall time.Time // the same moment
	buf  [256]byte
	err  error
}

func (s *snapshotReader) readAll() (entries []*entry, err error) {
	if header := s.bytes(len(snapshotHeader)); string(header) != snapshotHeader {
		if s.err != nil && s.err != errCutShort {
			return nil, s.err
		}
		return nil, errNoSnapshot
	}
	for {
		n := s.byte()
		if s.err != nil {
			return nil, s.err
		}
		if n == 0 {
			return entries, s.end()
		}
		name := string(s.bytes(int(n)))
		records := [2]*record{s.record(name, v6), s.record(name, v4)}
		if canonical, fault := normalize(name); fault != "" || canonical != name {
			s.fail(errDamaged)
		}
		if s.err != nil {
			return nil, s.err
		}
		if len(entries) < s.r.opt.MaxHosts && (records[v6].isOfUse(s.now) || records[v4].isOfUse(s.now)) {
			entries = append(entries, newEntry(name, records))
		}
	}
}

// end checks the sum, and that nothing follows.
func (s *snapshotReader) end() error {
	want := s.sum.Sum(nil)
	if got := s.bytes(len(want)); s.err == nil && string(got) != string(want) {
		return errDamaged
	}
	if _, err := s.in.ReadByte(); s.err == nil && err != io.EOF {
		return errDamaged
	}
	return s.err
}

// record reads what is known of one family of name; nil if that is nothing of
// use any more.
func (s *snapshotReader) record(name string, f family) *record {
	st := state(s.byte())
	if st == unknown {
		return nil
	}
	left := time.UnixMilli(int64(binary.BigEndian.Uint64(s.bytes(8)))).Sub(s.wall)
	left = max(left, -2*mostStale) // or its age could overflow
	ttl := time.Duration(binary.BigEndian.Uint32(s.bytes(4))) * time.Millisecond
	n := int(s.byte())
	rec := &record{state: st, ttl: min(ttl, s.r.opt.MaxTTL), expires: s.now + int64(min(left, s.r.opt.MaxTTL))}
	switch {
	case st == positive && 1 <= n && n <= maxAddrs:
		for range n {
			a, _ := netip.AddrFromSlice(s.bytes(addrBytes(f)))
			rec.addrs = append(rec.addrs, a)
		}
	case st == negative:
		b := s.bytes(n)
		if !isPackedError(b) {
			s.fail(errDamaged)
			return nil
		}
		rec.err, rec.aliased = unpackError(name, b)
	default:
		s.fail(errDamaged)
	}
	if !rec.valid(s.now) && !s.r.usableStale(rec, s.now) {
		return nil
	}
	return rec
}

// isOfUse reports whether rec is worth an entry: what is out of date and not
// an address is of use beside an address only.
func (r *record) isOfUse(now int64) bool { return r != nil && (r.valid(now) || r.state.hasAddrs()) }

func (s *snapshotReader) byte() byte { return s.bytes(1)[0] }

// bytes returns the next n bytes, at most 256; they hold until the next call.
func (s *snapshotReader) bytes(n int) []byte {
	b := s.buf[:n]
	if s.err == nil {
		_, err := io.ReadFull(s.in, b)
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = errCutShort
		}
		s.fail(err)
		s.sum.Write(b)
	}
	if s.err != nil {
		clear(b)
	}
	return b
}

// fail records the first error.
func (s *snapshotReader) fail(err error) {
	if s.err == nil {
		s.err = err
	}
}
