package dnscache

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"time"

	"github.com/hostwise-go/hostwise"
)

// isTruncated reports the TC bit: RFC 1035, section 4.1.1. Whatever else the
// reply holds is not used (RFC 2181, section 9).
func isTruncated(reply []byte) bool {
	return binary.BigEndian.Uint16(reply[2:])&flagTC != 0
}

// viaTCP asks q's question over TCP, in the place of q. Unless the server
// speaks nothing else, the flight uses TCP from then on.
func (r *Resolver) viaTCP(q *query) {
	f := q.flight
	t := &query{flight: f, server: q.server, sent: time.Now()}
	r.mu.Lock()
	f.tcp = f.tcp || !q.server.tcpOnly
	if i := slices.Index(f.queries, q); i >= 0 {
		f.queries[i] = t
	}
	over := f.over
	r.mu.Unlock()
	if over {
		return
	}
	r.counters.tcp.Add(1)
	if !r.own(func() {
		if err := r.exchangeTCP(t); err != nil {
			r.tcpFailed(t, err)
		}
	}, nil) {
		r.tcpFailed(t, net.ErrClosed)
	}
}

// tcpFailed ends q. That the server cannot be reached over TCP says that a
// truncated answer stays truncated, unless TCP is all there is.
func (r *Resolver) tcpFailed(q *query, err error) {
	var malformed *malformedReply
	switch {
	case errors.As(err, &malformed):
		r.replyFailed(q, malformed.result, false)
	case q.server.tcpOnly:
		r.sendFailed(q, err)
	default:
		r.replyFailed(q, result{kind: hostwise.DNSTruncated, cause: err}, false)
	}
}

// malformedReply is a reply over TCP that does not answer the question:
// nobody else can have sent it, so there is no better one to wait for.
type malformedReply struct{ result }

func (e *malformedReply) Error() string { return "malformed reply over TCP" }

// exchangeTCP sends q over a connection of its own and hands the reply on:
// RFC 7766, section 8.
func (r *Resolver) exchangeTCP(q *query) error {
	ctx, cancel := context.WithTimeout(r.ctx, r.opt.Timeout)
	defer cancel()
	conn, err := r.opt.Dial(ctx, "tcp", q.server.name)
	if err != nil {
		return err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if q.message, err = packQuery(q.flight.name, q.flight.family, !q.server.noEDNS.Load()); err != nil {
		return err
	}
	packet := binary.BigEndian.AppendUint16(nil, uint16(len(q.message)))
	packet = append(packet, q.message...)
	q.id = uint16(rand.Uint32())
	binary.BigEndian.PutUint16(packet[2:], q.id)
	if _, err := conn.Write(packet); err != nil {
		return err
	}
	reply := make([]byte, 65535)
	for {
		if _, err := io.ReadFull(conn, reply[:2]); err != nil {
			return err
		}
		n := int(binary.BigEndian.Uint16(reply))
		if _, err := io.ReadFull(conn, reply[:n]); err != nil {
			return err
		}
		if n < headerSize || binary.BigEndian.Uint16(reply) != q.id || !matches(q.message, reply[:n]) {
			r.counters.dropped.Add(1)
			continue
		}
		if isTruncated(reply) {
			return errors.New("truncated over TCP too")
		}
		if !r.accept(q, reply[:n], time.Now()) {
			res, _ := parseReply(reply[:n], q.flight.name, q.flight.family)
			return &malformedReply{res}
		}
		return nil
	}
}
