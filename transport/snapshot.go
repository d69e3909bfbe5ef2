package transport

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/hostwise-go/hostwise"
)

// A snapshot of the breaker is this line, an entry for each host that is down
// or paused, and the SHA-256 of all that. An entry is
//
//	the key behind its length (2 bytes)
//	1 if the host had answered before, plus 2 if it is down (1 byte)
//	the failures in a row (4 bytes)
//	the cool-down, and what a failure cost (8 bytes each, milliseconds)
//	down since, until, paused since, until (8 bytes each, Unix milliseconds)
//	the last failure's Kind and Phase, and what it had to say of a status
//	(each behind its length in a byte)
//
// Numbers are big-endian.
const snapshotHeader = "hostwise breakers 1\n"

const (
	longestKey  = 512      // hosts with a longer one are left out
	maxSnapshot = 64 << 20 // bytes, more than Snapshot ever writes
	answeredBit = 1
	openBit     = 2
)

// SnapshotBreakers writes to w which hosts are down or paused, so that a later
// process need not find out again: see RestoreBreakers. The Transport stays in
// use meanwhile. An error is w's.
func (t *Transport) SnapshotBreakers(w io.Writer) error {
	sum := sha256.New()
	out := io.MultiWriter(w, sum)
	_, err := io.WriteString(out, snapshotHeader)
	for i := range t.breaker.shards {
		if err == nil {
			_, err = out.Write(t.breaker.shards[i].appendSnapshot(nil, time.Now()))
		}
	}
	if err == nil {
		_, err = w.Write(sum.Sum(nil))
	}
	if err != nil {
		return fmt.Errorf("transport: snapshot: %w", err)
	}
	return nil
}

func (s *breakerShard) appendSnapshot(b []byte, now time.Time) []byte {
	wall := now.Round(0) // the same moment, without the monotonic clock
	s.mu.RLock()
	defer s.mu.RUnlock()
	for e := s.order[1].Front(); e != nil; e = e.Next() {
		h := e.Value.(*hostBreaker)
		if len(h.key) > longestKey || len(h.key) == 0 {
			continue
		}
		flags := byte(0)
		if h.answered {
			flags |= answeredBit
		}
		if h.open {
			flags |= openBit
		}
		b = binary.BigEndian.AppendUint16(b, uint16(len(h.key)))
		b = append(append(b, h.key...), flags)
		b = binary.BigEndian.AppendUint32(b, uint32(min(h.failures, math.MaxInt32)))
		b = binary.BigEndian.AppendUint64(b, uint64((h.cooldown + time.Millisecond - 1).Milliseconds())) // none is 0
		b = binary.BigEndian.AppendUint64(b, uint64(h.took.Milliseconds()))
		var asked pause
		if h.pause != nil {
			asked = *h.pause
		}
		for _, t := range [...]time.Time{h.since, h.retryAt, asked.from, asked.until} {
			ms := int64(0)
			if !t.IsZero() {
				ms = wall.Add(t.Sub(now)).UnixMilli()
			}
			b = binary.BigEndian.AppendUint64(b, uint64(ms))
		}
		for _, text := range lastTexts(h.last) {
			text = text[:min(len(text), math.MaxUint8)]
			b = append(append(b, byte(len(text))), text...)
		}
	}
	return b
}

// RestoreBreakers takes in what SnapshotBreakers has written, in this process
// or another: hosts that were down are, for the rest of their cool-down, and
// the next one is twice as long; hosts that were paused are. Of the last
// failure only its Kind and Phase are left. What this Transport knows of a
// host already stays, and hosts that could have been tried again for longer
// than MaxCooldown are left out, as is what its own options would not have.
// Input that is damaged, cut short or no snapshot is an error, and nothing of
// it is taken in.
func (t *Transport) RestoreBreakers(r io.Reader) error {
	now := time.Now()
	hosts, err := readSnapshot(r, now)
	if err != nil {
		return fmt.Errorf("transport: restore: %w; nothing was taken in", err)
	}
	for _, h := range hosts {
		t.breaker.restore(h.key, h.hostState, now)
	}
	t.breaker.changes.tell()
	return nil
}

// restore takes in the state of one host, as far as it still means something.
func (b *breaker) restore(key string, st hostState, now time.Time) {
	if b.opt.Disable {
		return
	}
	longest := now.Add(b.opt.MaxCooldown)
	if st.retryAt.Before(now.Add(-b.opt.MaxCooldown)) || b.limit(st.answered) < 0 {
		st.open = false
	}
	if st.open {
		st.cooldown = min(st.cooldown, b.opt.MaxCooldown)
		if st.retryAt.After(longest) {
			st.retryAt = longest
		}
	} else {
		st = hostState{answered: st.answered, pause: st.pause}
	}
	switch {
	case !b.opt.HonorRetryAfter || !st.pause.lasts(now):
		st.pause = nil
	case st.pause.until.After(longest):
		st.pause = &pause{st.pause.from, longest}
	}
	if !st.open && st.pause == nil {
		return
	}
	s := b.shard(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hosts[key] != nil {
		return
	}
	h := b.entry(s, key, st.answered, now)
	h.put(st)
	b.changed(s, h, now)
}

var (
	errNoSnapshot = errors.New("not a snapshot of this version, which begins with the line " + strconv.Quote(snapshotHeader))
	errDamaged    = errors.New("the snapshot is damaged or cut short")
	errTooLarge   = errors.New("the snapshot is larger than any that was written by SnapshotBreakers")
)

// A restored host is one of a snapshot.
type restored struct {
	key string
	hostState
}

func readSnapshot(r io.Reader, now time.Time) (hosts []restored, err error) {
	header := make([]byte, len(snapshotHeader))
	switch _, err := io.ReadFull(r, header); {
	case err != nil && err != io.EOF && err != io.ErrUnexpectedEOF:
		return nil, err
	case string(header) != snapshotHeader:
		return nil, errNoSnapshot
	}
	b, err := io.ReadAll(io.LimitReader(r, maxSnapshot+1))
	switch {
	case err != nil:
		return nil, err
	case len(b) > maxSnapshot:
		return nil, errTooLarge
	case len(b) < sha256.Size:
		return nil, errDamaged
	}
	b, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if got := sha256.Sum256(append(header, b...)); !bytes.Equal(got[:], sum) {
		return nil, errDamaged
	}
	for in := (snapshotReader{b: b, now: now}); len(in.b) > 0; {
		h := in.host()
		if in.damaged {
			return nil, errDamaged
		}
		if hosts = append(hosts, h); len(hosts) > maxBreakers {
			return nil, errTooLarge
		}
	}
	return hosts, nil
}

// A snapshotReader takes fields off b. After damage it reads zeros.
type snapshotReader struct {
	b       []byte
	now     time.Time
	damaged bool
}

func (r *snapshotReader) host() restored {
	n := r.uint(2)
	h := restored{key: string(r.bytes(n))}
	flags, failures := r.uint(1), r.uint(4)
	h.answered, h.open = flags&answeredBit != 0, flags&openBit != 0
	h.failures = int(min(failures, math.MaxInt32))
	h.cooldown, h.took = r.duration(), r.duration()
	h.since, h.retryAt = r.time(), r.time()
	if p := (pause{r.time(), r.time()}); !p.until.IsZero() {
		h.pause = &p
	}
	kind, phase, status := r.text(), r.text(), r.text()
	if h.since.After(r.now) { // another clock's
		h.since = r.now
	}
	h.last = lastError(h.key, hostwise.Kind(kind), hostwise.Phase(phase), status)
	if n == 0 || n > longestKey || flags > answeredBit|openBit || h.open && (h.failures == 0 || h.cooldown == 0 || h.retryAt.IsZero()) {
		r.damaged = true
	}
	return h
}

// bytes returns the next n bytes, or none of them.
func (r *snapshotReader) bytes(n uint64) (b []byte) {
	if n > uint64(len(r.b)) {
		r.damaged, r.b = true, nil
		return nil
	}
	b, r.b = r.b[:n], r.b[n:]
	return b
}

// uint returns a number of n bytes.
func (r *snapshotReader) uint(n uint64) (u uint64) {
	for _, c := range r.bytes(n) {
		u = u<<8 | uint64(c)
	}
	return u
}

func (r *snapshotReader) text() string { return string(r.bytes(r.uint(1))) }

// duration returns one of at most some hundred years.
func (r *snapshotReader) duration() time.Duration {
	return time.Duration(min(r.uint(8), math.MaxInt64/uint64(time.Millisecond))) * time.Millisecond
}

// time returns a time that is as far away by this process's clock as it was
// from the wall clock's.
func (r *snapshotReader) time() time.Time {
	ms := int64(r.uint(8))
	if ms == 0 {
		return time.Time{}
	}
	return r.now.Add(time.UnixMilli(ms).Sub(r.now))
}

// lastTexts is what a snapshot keeps of a failure.
func lastTexts(err error) (texts [3]string) {
	k := hostwise.KindOf(err)
	if !ledgers[k].hasBreaker() {
		return texts
	}
	texts[0], texts[1] = string(k), string(hostwise.PhaseOf(err))
	var r *hostwise.RequestError
	if k == hostwise.HTTPStatus && errors.As(err, &r) && r.Err != nil {
		texts[2] = r.Err.Error()
	}
	return texts
}

// lastError is the reverse of lastTexts.
func lastError(host string, k hostwise.Kind, p hostwise.Phase, status string) error {
	switch {
	case !ledgers[k].hasBreaker():
		return nil
	case ledgers[k] == ledgerProxy:
		return &hostwise.ConnectError{Host: host, Proxy: host, Kind: k}
	case p == hostwise.PhaseConnect:
		return &hostwise.ConnectError{Host: host, Kind: k}
	case p == hostwise.PhaseTLS:
		return &hostwise.TLSError{Host: host, Kind: k}
	}
	e := &hostwise.RequestError{Host: host, Kind: k, Phase: hostwise.PhaseRequest}
	if status != "" {
		e.Err = errors.New(status)
	}
	return e
}
