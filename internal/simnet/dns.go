package simnet

import (
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

// A DNS is a nameserver that answers by a script: see Handle. It serves UDP
// and TCP, and each query on its own, so that the delay of one holds up no
// other.
type DNS struct {
	n    *Network
	udp  *packetConn
	tcp  net.Listener
	done chan struct{}  // closed by Close
	wg   sync.WaitGroup // all goroutines

	mu      sync.Mutex // protects all below; no other lock is taken under it
	scripts map[question]*script
	names   map[string]bool // that have some script
	queries []Query
	conns   map[net.Conn]bool     // open TCP connections
	extra   map[net.Listener]bool // given to Serve
	closed  bool
	silent  bool
	qps     float64   // 0: no limit
	tokens  float64   // answers that may be given at refill
	refill  time.Time // last computation of tokens
}

// A question is the key of a script. The name is canonical.
type question struct {
	name  string
	qtype uint16
}

// A Query is an entry in the log of queries.
type Query struct {
	Name    string // as asked, in the case of the query
	Type    uint16
	ID      uint16
	At      time.Time // of its arrival at the server
	From    netip.AddrPort
	TCP     bool
	UDPSize uint16 // EDNS: the UDP payload size announced, or 0 without an OPT
	Dropped bool   // not answered because of SetSilent or SetQPS
}

// ServeDNS starts a nameserver at address, a literal ip:port, until Close.
// It panics if the address is malformed or in use.
func (n *Network) ServeDNS(address string) *DNS {
	udp, err := n.ListenPacket(address)
	if err != nil {
		panic(err)
	}
	tcp, err := n.Listen(udp.LocalAddr().String())
	if err != nil {
		panic(err)
	}
	d := &DNS{
		n:       n,
		udp:     udp.(*packetConn),
		tcp:     tcp,
		done:    make(chan struct{}),
		scripts: make(map[question]*script),
		names:   make(map[string]bool),
		conns:   make(map[net.Conn]bool),
		extra:   make(map[net.Listener]bool),
	}
	d.wg.Go(d.serveUDP)
	d.wg.Go(func() { d.accept(tcp) })
	return d
}

// Addr returns the address the server listens on.
func (d *DNS) Addr() netip.AddrPort { return d.udp.local }

// Serve answers the queries that come over the connections l accepts, in the
// framing of DNS over TCP: with a tls.Listener this is DNS over TLS. It
// returns at once; Close closes l.
func (d *DNS) Serve(l net.Listener) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		l.Close()
		return
	}
	d.extra[l] = true
	d.wg.Go(func() { d.accept(l) })
}

// RefuseTCP closes the TCP port: from now on dials to it are refused.
func (d *DNS) RefuseTCP() { d.tcp.Close() }

// SetSilent says whether the server reads queries and answers none, over UDP
// and TCP, as if it had died with its port open. Answers still delayed are
// dropped too.
func (d *DNS) SetSilent(silent bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.silent = silent
}

// SetQPS limits the server to n answers a second, and to n at once after a
// quiet second. It drops the queries beyond. With 0 there is no limit.
func (d *DNS) SetQPS(n float64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.qps, d.tokens, d.refill = n, max(n, 1), time.Now()
}

// Queries returns the log of the queries, in the order of their arrival.
func (d *DNS) Queries() []Query {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.queries)
}

// Count returns the number of queries for the name and type so far. The name
// may be in any case, with or without the final dot.
func (d *DNS) Count(name string, qtype uint16) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	count := 0
	for _, q := range d.queries {
		if q.Type == qtype && strings.EqualFold(dns.Fqdn(q.Name), dns.Fqdn(name)) {
			count++
		}
	}
	return count
}

// Close stops the server and waits for its goroutines to end. Answers that
// are still delayed are not sent.
func (d *DNS) Close() error {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return net.ErrClosed
	}
	d.closed = true
	close(d.done)
	var open []interface{ Close() error }
	for c := range d.conns {
		open = append(open, c)
	}
	for l := range d.extra {
		open = append(open, l)
	}
	d.mu.Unlock()
	for _, c := range append(open, d.udp, d.tcp) {
		c.Close()
	}
	d.wg.Wait()
	return nil
}

// receive logs a query and returns the rule for it, or nil if the query is to
// be dropped.
func (d *DNS) receive(query *dns.Msg, from netip.AddrPort, tcp bool) *Rule {
	d.mu.Lock()
	defer d.mu.Unlock()
	asked := query.Question[0]
	q := Query{
		Name: asked.Name, Type: asked.Qtype, ID: query.Id,
		At: time.Now(), From: from, TCP: tcp,
	}
	if opt := query.IsEdns0(); opt != nil {
		q.UDPSize = opt.UDPSize()
	}
	q.Dropped = d.silent || !d.allowLocked(q.At)
	d.queries = append(d.queries, q)
	if q.Dropped {
		return nil
	}
	return d.ruleLocked(asked)
}

// allowLocked reports whether the rate limit lets another query pass.
func (d *DNS) allowLocked(now time.Time) bool {
	if d.qps <= 0 {
		return true
	}
	d.tokens = min(d.tokens+now.Sub(d.refill).Seconds()*d.qps, max(d.qps, 1))
	d.refill = now
	if d.tokens < 1 {
		return false
	}
	d.tokens--
	return true
}

// isSilent reports whether the server has been told to answer nothing.
func (d *DNS) isSilent() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.silent
}
