package simnet

import (
	"cmp"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/miekg/dns"
)

// serveUDP answers queries over UDP until Close.
func (d *DNS) serveUDP() {
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := d.udp.read(buf)
		if err != nil {
			return
		}
		query, ok := parseQuery(buf[:n])
		if !ok {
			continue
		}
		rule := d.receive(query, from, false)
		if rule == nil {
			continue
		}
		d.schedule(rule.Delay > 0 || delayed(rule.Forge), func() { d.answerUDP(rule, query, from) })
	}
}

// answerUDP sends what the rule has in answer to query, in the order in which
// it is due.
func (d *DNS) answerUDP(rule *Rule, query *dns.Msg, to netip.AddrPort) {
	type packet struct {
		delay time.Duration
		send  func()
	}
	var packets []packet
	for _, f := range rule.Forge {
		b, from := f.packet(query), f.source(d.Addr())
		packets = append(packets, packet{f.Delay, func() { d.n.Inject(from, to, b) }})
	}
	if b := rule.reply(query, false); b != nil {
		packets = append(packets, packet{rule.Delay, func() { d.udp.write(b, to) }})
	}
	slices.SortStableFunc(packets, func(a, b packet) int { return cmp.Compare(a.delay, b.delay) })
	arrived := time.Now()
	for _, p := range packets {
		if !d.sleepUntil(arrived.Add(p.delay)) {
			return
		}
		p.send()
	}
}

// accept serves the connections that l accepts until it is closed.
func (d *DNS) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		if d.closed {
			d.mu.Unlock()
			c.Close()
			return
		}
		d.conns[c] = true
		d.mu.Unlock()
		d.wg.Go(func() { d.serveTCP(c) })
	}
}

// serveTCP answers queries over one connection, each when its answer is due:
// RFC 7766, section 6.2.1.1.
func (d *DNS) serveTCP(c net.Conn) {
	defer func() {
		d.mu.Lock()
		delete(d.conns, c)
		d.mu.Unlock()
		c.Close()
	}()
	from, _ := netip.ParseAddrPort(c.RemoteAddr().String())
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		b := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, b); err != nil {
			return
		}
		query, ok := parseQuery(b)
		if !ok {
			return
		}
		rule := d.receive(query, from, true)
		if rule == nil {
			continue
		}
		if rule.NoTCP {
			return
		}
		d.schedule(rule.Delay > 0, func() { d.answerTCP(rule, query, c) })
	}
}

// answerTCP sends what the rule has in answer to query.
func (d *DNS) answerTCP(rule *Rule, query *dns.Msg, c net.Conn) {
	b := rule.reply(query, true)
	if b == nil || !d.sleepUntil(time.Now().Add(rule.Delay)) {
		return
	}
	b = append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)
	c.Write(b) // in one piece, since answers to pipelined queries mix; the reader sees a failure
}

// schedule calls f: at once, or in a goroutine if it has to wait.
func (d *DNS) schedule(waits bool, f func()) {
	if waits {
		d.wg.Go(f)
	} else {
		f()
	}
}

// sleepUntil waits until t. It reports whether the server still answers.
func (d *DNS) sleepUntil(t time.Time) bool {
	if wait := time.Until(t); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-d.done:
			return false
		case <-timer.C:
		}
	}
	return !d.isSilent()
}

// parseQuery unpacks a query with one question.
func parseQuery(b []byte) (*dns.Msg, bool) {
	m := new(dns.Msg)
	if m.Unpack(b) != nil || m.Response || len(m.Question) != 1 {
		return nil, false
	}
	return m, true
}
