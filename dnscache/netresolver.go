package dnscache

import (
	"context"
	"encoding/binary"
	"errors"
	"net"
	"slices"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/miekg/dns"
)

// NetResolver returns a resolver for whatever takes a *net.Resolver, such as
// net.Dialer: its lookups of addresses are answered from this cache, in DNS
// messages over connections in memory, with the time that is left of each
// TTL. Its other lookups (MX, TXT, SRV, PTR, ...) go to the nameservers and
// are not remembered. Package net does its part first: it reads the hosts
// file, appends search domains, refuses names that are not ASCII, and makes
// its own errors, which name a nameserver of resolv.conf whoever was asked.
// LookupCNAME finds no aliases, since the cache keeps none. It is good until
// Close.
func (r *Resolver) NetResolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe() // not a packet connection: messages come behind their length
		ctx, cancel := context.WithCancel(r.ctx)
		if !r.own(func() {
			defer cancel()
			r.serve(ctx, server)
		}, server) {
			cancel()
			return nil, net.ErrClosed
		}
		return &inMemory{client, cancel}, nil
	}}
}

// inMemory is the client's end of a connection; closing it ends the lookup.
type inMemory struct {
	net.Conn
	cancel func()
}

func (c *inMemory) Close() error {
	c.cancel()
	return c.Conn.Close()
}

// serve answers the queries that come over conn until it is closed.
func (r *Resolver) serve(ctx context.Context, conn net.Conn) {
	defer r.disown(conn)
	defer conn.Close()
	for {
		query, err := readMessage(conn, nil)
		if err != nil {
			return
		}
		reply, err := r.reply(ctx, query)
		if err != nil {
			return // package net asks again, or reports that the server hung up
		}
		if _, err := conn.Write(frame(reply)); err != nil {
			return
		}
	}
}

// frame puts the length before a message: RFC 1035, section 4.2.2.
func frame(message []byte) []byte {
	return append(binary.BigEndian.AppendUint16(nil, uint16(len(message))), message...)
}

// reply answers a query from the cache, or has a nameserver do it.
func (r *Resolver) reply(ctx context.Context, query []byte) ([]byte, error) {
	var m dns.Msg
	if err := m.Unpack(query); err != nil || len(m.Question) != 1 {
		return nil, errNotQuery
	}
	q := m.Question[0]
	if q.Qclass != dns.ClassINET || q.Qtype != dns.TypeA && q.Qtype != dns.TypeAAAA {
		return r.relay(ctx, query)
	}
	f := v6
	if q.Qtype == dns.TypeA {
		f = v4
	}
	answer := new(dns.Msg).SetReply(&m)
	answer.RecursionAvailable = true
	rec, err := r.lookupRecord(ctx, q.Name, f)
	switch {
	case err != nil:
		return nil, err
	case rec.err == nil:
	case rec.err.Kind == hostwise.DNSNXDomain, rec.err.Kind == hostwise.DNSBadName:
		answer.Rcode = dns.RcodeNameError
	case rec.err.Kind != hostwise.DNSNoData:
		answer.Rcode = dns.RcodeServerFailure
	}
	ttl := uint32(max(rec.expires-r.clock.exact(), 0) / int64(time.Second))
	for _, a := range rec.addrs {
		h := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: ttl}
		if f == v4 {
			answer.Answer = append(answer.Answer, &dns.A{Hdr: h, A: a.AsSlice()})
		} else {
			answer.Answer = append(answer.Answer, &dns.AAAA{Hdr: h, AAAA: a.AsSlice()})
		}
	}
	return answer.Pack()
}

var errNotQuery = errors.New("not a query with one question")

// lookupRecord returns what is known, or can be learned, of one family.
func (r *Resolver) lookupRecord(ctx context.Context, host string, f family) (*record, error) {
	want, err := r.families(f.network(), host)
	if err != nil {
		return errorRecord(err)
	}
	records, name, ask, err := r.known(want, host)
	if err != nil {
		return errorRecord(err)
	}
	if ask[f] {
		var coalesced bool
		if err := r.wait(ctx, name, ask, &records, &coalesced); err != nil {
			return nil, err
		}
	}
	return records[f], nil
}

// errorRecord is the record of a name that is not asked for.
func errorRecord(err error) (*record, error) {
	var e *hostwise.DNSError
	if !errors.As(err, &e) {
		return nil, err
	}
	return &record{state: negative, err: e}, nil
}

// relay has the nameservers answer a query, each in turn, those that are down
// last.
func (r *Resolver) relay(ctx context.Context, query []byte) (reply []byte, err error) {
	c := r.config(r.clock.exact())
	servers := slices.Clone(c.servers)
	slices.SortStableFunc(servers, func(a, b *server) int {
		switch down := a.isDown(); {
		case down == b.isDown():
			return 0
		case down:
			return 1
		}
		return -1
	})
	for range c.tries {
		for _, s := range servers {
			if reply, err = r.relayTo(ctx, s, query); err == nil || ctx.Err() != nil {
				return reply, err
			}
		}
	}
	return nil, err
}

// relayTo has one nameserver answer a query, over a connection of its own.
func (r *Resolver) relayTo(ctx context.Context, s *server, query []byte) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout())
	defer cancel()
	if s.protocol == overHTTPS {
		reply, _, err := s.https.exchange(ctx, query)
		return reply, err
	}
	if s.protocol == overUDP {
		conn, err := r.dial(ctx, "udp", s.addr)
		if err != nil {
			return nil, err
		}
		reply, err := relayOver(ctx, conn, query, query, func() ([]byte, error) {
			b := make([]byte, maxMessage)
			n, err := conn.Read(b)
			return b[:n], err
		})
		if err != nil || !isTruncated(reply) {
			return reply, err
		}
	}
	conn, err := r.dialStream(s)
	if err != nil {
		return nil, err
	}
	return relayOver(ctx, conn, query, frame(query), func() ([]byte, error) { return readMessage(conn, nil) })
}

// relayOver sends a query in its frame and reads until the reply to it comes.
func relayOver(ctx context.Context, conn net.Conn, query, framed []byte, read func() ([]byte, error)) ([]byte, error) {
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(framed); err != nil {
		return nil, err
	}
	for {
		reply, err := read()
		if err != nil {
			return nil, err
		}
		if matches(query, reply) && string(reply[:2]) == string(query[:2]) {
			return reply, nil
		}
	}
}
