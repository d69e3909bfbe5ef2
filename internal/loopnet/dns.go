package loopnet

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

const (
	ttl         = 300 // seconds, of every answer
	negativeTTL = 60  // seconds: SOA MINIMUM, RFC 2308, section 4
)

// A record is what the nameserver knows of one name.
type record struct {
	addrs    []netip.Addr // answered in this order
	alias    string       // the name is a CNAME for this one
	rcode    int
	silent   bool // no answer
	truncate bool // no room in UDP
	cold     time.Duration

	warm time.Time // when the first answer is ready; under nameserver.mu
}

// A nameserver stands in for a recursive resolver and all that is behind it:
// the first question for a name takes its cold time, later ones only the
// latency.
type nameserver struct {
	addr    string
	zone    map[string]*record // by lower-case name with its trailing dot
	latency time.Duration
	done    <-chan struct{}
	silent  atomic.Pointer[chan struct{}] // closed when the silence ends; nil: there is none

	serving sync.Mutex // one start or stop at a time; protects servers
	servers []*dns.Server
	wg      sync.WaitGroup

	mu    sync.Mutex // guards asked and record.warm
	asked map[Query]int
}

// newNameserver starts a nameserver with a zone, of which it makes a copy.
func newNameserver(addr netip.Addr, zone map[string]*record, latency time.Duration, done <-chan struct{}) (*nameserver, error) {
	ns := &nameserver{
		addr:    netip.AddrPortFrom(addr, 0).String(),
		zone:    make(map[string]*record, len(zone)),
		latency: latency,
		done:    done,
		asked:   make(map[Query]int),
	}
	for name, r := range zone {
		own := *r
		ns.zone[name] = &own
	}
	pc, l, err := listenDNS(ns.addr)
	if err != nil {
		return nil, err
	}
	ns.addr = l.Addr().String()
	if err := ns.serve(pc, l); err != nil {
		return nil, err
	}
	return ns, nil
}

// start opens the nameserver's sockets again.
func (ns *nameserver) start() error {
	ns.serving.Lock()
	defer ns.serving.Unlock()
	if len(ns.servers) > 0 || isClosed(ns.done) {
		return nil
	}
	pc, l, err := listenDNS(ns.addr)
	if err != nil {
		return err
	}
	return ns.serve(pc, l)
}

// serve answers at two sockets.
func (ns *nameserver) serve(pc net.PacketConn, l net.Listener) error {
	for _, s := range []*dns.Server{{PacketConn: pc, UDPSize: dns.DefaultMsgSize}, {Listener: l, MaxTCPQueries: -1}} {
		started := make(chan struct{})
		s.NotifyStartedFunc = func() { close(started) }
		s.Handler = ns
		failed := make(chan error, 1)
		ns.wg.Go(func() { failed <- s.ActivateAndServe() })
		select {
		case <-started:
			ns.servers = append(ns.servers, s)
		case err := <-failed:
			return errors.Join(err, ns.shutdown(), pc.Close(), l.Close())
		}
	}
	return nil
}

// listenDNS opens the same port for UDP and TCP.
func listenDNS(addr string) (pc net.PacketConn, l net.Listener, err error) {
	for range listenTries {
		if l, err = net.Listen("tcp4", addr); err == nil {
			if pc, err = net.ListenPacket("udp4", l.Addr().String()); err == nil {
				return pc, l, nil
			}
			l.Close()
		}
		time.Sleep(listenPause)
	}
	return nil, nil, err
}

// stop closes the nameserver's sockets.
func (ns *nameserver) stop() error {
	ns.serving.Lock()
	defer ns.serving.Unlock()
	return ns.shutdown()
}

// shutdown is stop; ns.serving is held.
func (ns *nameserver) shutdown() error {
	var errs []error
	for _, s := range ns.servers {
		errs = append(errs, s.Shutdown())
	}
	ns.servers = nil
	ns.wg.Wait()
	return errors.Join(errs...)
}

func (ns *nameserver) total() (n int64) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for _, k := range ns.asked {
		n += int64(k)
	}
	return n
}

// queries adds what was asked to a count.
func (ns *nameserver) queries(total map[Query]int) {
	ns.mu.Lock()
	defer ns.mu.Unlock()
	for q, k := range ns.asked {
		total[q] += k
	}
}

// ServeDNS answers one query.
func (ns *nameserver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	if len(q.Question) != 1 {
		return
	}
	name := strings.ToLower(q.Question[0].Name)
	rec, wait := ns.ask(name, q.Question[0].Qtype)
	if rec != nil && rec.silent {
		return
	}
	if silent := ns.silent.Load(); silent != nil {
		ns.hang(w, *silent)
		return
	}
	select {
	case <-time.After(wait):
	case <-ns.done:
		return
	}
	w.WriteMsg(ns.answer(q, rec, isUDP(w))) // the asker may have gone: not our concern
}

// hang does not answer. A connection stands still, and breaks in the end, as
// that of a process which hangs and is restarted.
func (ns *nameserver) hang(w dns.ResponseWriter, silent <-chan struct{}) {
	if isUDP(w) {
		return
	}
	select {
	case <-silent:
	case <-ns.done:
	}
	w.Close()
}

func isUDP(w dns.ResponseWriter) bool {
	_, udp := w.LocalAddr().(*net.UDPAddr)
	return udp
}

// ask counts a query and returns what is known of the name, nil if it does
// not exist, and the time to take for it.
func (ns *nameserver) ask(name string, qtype uint16) (*record, time.Duration) {
	now := time.Now()
	ns.mu.Lock()
	defer ns.mu.Unlock()
	ns.asked[Query{strings.TrimSuffix(name, "."), dns.TypeToString[qtype]}]++
	rec := ns.zone[name]
	if rec == nil {
		return nil, ns.latency
	}
	if rec.warm.IsZero() {
		rec.warm = now.Add(rec.cold)
	}
	return rec, ns.latency + max(rec.warm.Sub(now), 0)
}

func (ns *nameserver) answer(q *dns.Msg, rec *record, udp bool) *dns.Msg {
	m := new(dns.Msg)
	m.SetReply(q)
	m.RecursionAvailable = true
	if o := q.IsEdns0(); o != nil {
		m.SetEdns0(dns.DefaultMsgSize, false)
	}
	name, qtype := q.Question[0].Name, q.Question[0].Qtype
	switch {
	case rec == nil:
		m.Rcode = dns.RcodeNameError
		m.Ns = soa(name)
		return m
	case rec.truncate && udp:
		m.Truncated = true
		return m
	}
	for rec.alias != "" {
		m.Answer = append(m.Answer, &dns.CNAME{Hdr: header(name, dns.TypeCNAME), Target: rec.alias})
		name, rec = rec.alias, ns.zone[rec.alias]
	}
	m.Rcode = rec.rcode
	found := false
	for _, a := range rec.addrs {
		switch {
		case qtype == dns.TypeA && a.Is4():
			m.Answer = append(m.Answer, &dns.A{Hdr: header(name, qtype), A: a.AsSlice()})
			found = true
		case qtype == dns.TypeAAAA && a.Is6():
			m.Answer = append(m.Answer, &dns.AAAA{Hdr: header(name, qtype), AAAA: a.AsSlice()})
			found = true
		}
	}
	if !found && rec.rcode != dns.RcodeServerFailure {
		m.Ns = soa(name)
	}
	return m
}

func header(name string, rrtype uint16) dns.RR_Header {
	return dns.RR_Header{Name: name, Rrtype: rrtype, Class: dns.ClassINET, Ttl: ttl}
}

// soa is the authority section of a negative answer: RFC 2308, section 3.
func soa(name string) []dns.RR {
	zone := "test."
	if !dns.IsSubDomain(zone, strings.ToLower(name)) {
		zone = "."
	}
	h := header(zone, dns.TypeSOA)
	h.Ttl = negativeTTL
	return []dns.RR{&dns.SOA{
		Hdr: h, Ns: "ns.test.", Mbox: "hostmaster.test.",
		Serial: 1, Refresh: 3600, Retry: 600, Expire: 86400, Minttl: negativeTTL,
	}}
}
