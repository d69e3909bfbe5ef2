//go:build linux

package internet

import (
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"

	"github.com/hostwise-go/hostwise/bench/lab/world"
)

// nameServers stand in for two public recursive resolvers, with one cache
// between them, and for all the name servers behind these.
type nameServers struct {
	w        *world.World
	recursor *recursor
	limit    *rateLimit
	silent   [2]atomic.Bool // the name server is dead
	moved    atomic.Bool    // the hosts that move have moved

	queriesA, queriesAAAA, queriesOther atomic.Int64
	queriesTCP                          atomic.Int64
	queriesByServer                     [2]atomic.Int64
	dropped, rateLimited, repeated      atomic.Int64

	mu    sync.Mutex // protects tries
	tries map[dnsKey]uint64
}

// dnsKey is what an answer belongs to. The name is in lower case.
type dnsKey struct {
	name  string
	qtype uint16
}

func newNameServers(w *world.World) *nameServers {
	return &nameServers{
		w:        w,
		recursor: &recursor{cached: map[dnsKey]*cachedAnswer{}},
		limit:    &rateLimit{perSecond: w.Scenario.QPSLimit, last: time.Now()},
		tries:    map[dnsKey]uint64{},
	}
}

// serve answers on the sockets of both name servers.
func (d *nameServers) serve(udp [2]net.PacketConn, tcp [2]net.Listener) {
	for k := range udp {
		h := dns.HandlerFunc(func(rw dns.ResponseWriter, q *dns.Msg) { d.handle(k, rw, q) })
		onUDP := &dns.Server{PacketConn: udp[k], Handler: h}
		onTCP := &dns.Server{
			Listener:      tcp[k],
			Handler:       h,
			MaxTCPQueries: -1,
			IdleTimeout:   func() time.Duration { return 10 * time.Second },
		}
		go func() { _ = onUDP.ActivateAndServe() }()
		go func() { _ = onTCP.ActivateAndServe() }()
	}
}

func (d *nameServers) handle(server int, rw dns.ResponseWriter, q *dns.Msg) {
	if len(q.Question) != 1 {
		return
	}
	now := time.Now()
	question := q.Question[0]
	tcp := rw.LocalAddr().Network() == "tcp"
	d.count(server, question.Qtype, tcp)
	if d.silent[server].Load() {
		d.dropped.Add(1)
		return
	}
	if !d.limit.allow() {
		d.rateLimited.Add(1)
		return
	}
	key := dnsKey{strings.ToLower(question.Name), question.Qtype}
	h := d.w.ByName(key.name)
	try := d.countTry(key)
	if h != nil && h.Fate == world.DNSTimeout {
		d.dropped.Add(1)
		return
	}
	if !tcp && d.w.LosesQuery(h, key.qtype, try) {
		d.dropped.Add(1)
		return
	}
	ready, ttl := now, uint32(60)
	if h != nil {
		ready, ttl = d.recursor.lookup(key, h, now)
	}
	m := d.answer(q, h, answerOptions{try: try, ttl: ttl, tcp: tcp})
	send := func() { _ = rw.WriteMsg(m) }
	if wait := time.Until(ready); wait > 0 {
		if tcp { // answers may overtake each other on one connection: RFC 7766, section 6.2.1.1
			time.AfterFunc(wait, send)
			return
		}
		time.Sleep(wait)
	}
	send()
}

func (d *nameServers) count(server int, qtype uint16, tcp bool) {
	switch qtype {
	case dns.TypeA:
		d.queriesA.Add(1)
	case dns.TypeAAAA:
		d.queriesAAAA.Add(1)
	default:
		d.queriesOther.Add(1)
	}
	if tcp {
		d.queriesTCP.Add(1)
	}
	d.queriesByServer[server].Add(1)
}

// countTry returns how often this was asked, with this time.
func (d *nameServers) countTry(key dnsKey) uint64 {
	d.mu.Lock()
	d.tries[key]++
	try := d.tries[key]
	d.mu.Unlock()
	if try > 1 {
		d.repeated.Add(1)
	}
	return try
}

// recursor is the resolvers' own cache, and says how long it takes to fill it:
// the first query for a name costs the cold time of that name, later ones
// nothing until the TTL ends, then a re-fetch.
type recursor struct {
	mu     sync.Mutex // protects cached
	cached map[dnsKey]*cachedAnswer
}

type cachedAnswer struct {
	ready  time.Time // when it is there
	expiry time.Time
	ttl    uint32
}

// lookup returns when the answer will be there, and with which TTL.
func (r *recursor) lookup(key dnsKey, h *world.Host, now time.Time) (ready time.Time, ttl uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	a := r.cached[key]
	switch {
	case a == nil && h.Warm:
		a = newCachedAnswer(now, h.WarmTTL)
	case a == nil && key.qtype == dns.TypeA:
		a = newCachedAnswer(now.Add(h.ColdA), h.TTL)
	case a == nil:
		a = newCachedAnswer(now.Add(h.ColdAAAA), h.TTL)
	case now.After(a.expiry):
		a = newCachedAnswer(now.Add(h.Refetch), h.TTL)
	}
	r.cached[key] = a
	since := now
	if a.ready.After(now) {
		since = a.ready
	}
	left := uint32(a.expiry.Sub(since).Seconds() + 0.999)
	return a.ready, min(a.ttl, left)
}

func newCachedAnswer(ready time.Time, ttl uint32) *cachedAnswer {
	return &cachedAnswer{ready: ready, expiry: ready.Add(time.Duration(ttl) * time.Second), ttl: ttl}
}

// rateLimit lets so many queries a second through, all of them if perSecond
// is 0. The bucket holds one second and begins empty.
type rateLimit struct {
	perSecond float64

	mu     sync.Mutex // protects what follows
	tokens float64
	last   time.Time
}

func (l *rateLimit) allow() bool {
	if l.perSecond <= 0 {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	l.tokens = min(l.perSecond, l.tokens+now.Sub(l.last).Seconds()*l.perSecond)
	l.last = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}
