package hostwise_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/loopnet"
	"github.com/hostwise-go/hostwise/transport"
)

// A fault is a time in which requests may fail: of one host, of the hosts with
// IPv6, or of all, when no nameserver is there.
type fault struct {
	what     string
	from, to time.Time // to is zero until it is mended
}

const (
	faultIPv6 = "IPv6"
	faultDNS  = "DNS"
	faultNS   = "nameserver" // of some, which excuses nothing
)

// faultLog is the faults of late.
type faultLog struct {
	mu     sync.Mutex // protects what follows
	recent map[string][]*fault
	count  map[string]int // by kind, for the summary
}

// begin notes that something is about to break. The function returned notes
// that it is mended.
func (l *faultLog) begin(where, what string) (mended func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.recent == nil {
		l.recent, l.count = map[string][]*fault{}, map[string]int{}
	}
	l.count[what]++
	f := &fault{what: what, from: time.Now()}
	l.recent[where] = append(slices.DeleteFunc(l.recent[where], func(f *fault) bool {
		return !f.to.IsZero() && time.Since(f.to) > 2*time.Minute
	}), f)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		f.to = time.Now()
	}
}

// during returns a copy of the latest fault that a time from begin to end overlaps with, when it
// is reckoned to have gone on for so much longer.
func (l *faultLog) during(where string, begin, end time.Time, longer time.Duration) *fault {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, f := range slices.Backward(l.recent[where]) {
		if !end.Before(f.from) && (f.to.IsZero() || !begin.After(f.to.Add(longer))) {
			c := *f
			return &c
		}
	}
	return nil
}

func (l *faultLog) summary() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	b.WriteString("faults:")
	for _, what := range slices.Sorted(maps.Keys(l.count)) {
		fmt.Fprintf(&b, " %d %s,", l.count[what], what)
	}
	return strings.TrimSuffix(b.String(), ",")
}

// history tells of a host's faults.
func (l *faultLog) history(name string, now time.Time) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var b strings.Builder
	for _, where := range []string{name, faultIPv6, faultDNS, faultNS} {
		for _, f := range l.recent[where] {
			if !f.to.IsZero() && now.Sub(f.to) > 20*time.Second {
				continue
			}
			fmt.Fprintf(&b, " %s %s from %v", where, f.what, f.from.Sub(now).Round(time.Millisecond))
			if !f.to.IsZero() {
				fmt.Fprintf(&b, " to %v", f.to.Sub(now).Round(time.Millisecond))
			}
			b.WriteString(";")
		}
	}
	return b.String()
}

const (
	// The verdict on a host's fault may come when a request that has met it
	// runs into its time-out.
	soakVerdict = soakPatience + time.Second
	// A host that is down stays so for a cool-down, give or take a tenth, and
	// then until a probe is answered.
	soakRecovery = soakVerdict + soakLongest*11/10 + time.Second
	// A name that could not be resolved is asked for again after a second,
	// then two (RFC 9520, section 3.2), or once a nameserver is heard again.
	soakNames = 5 * time.Second
)

// excuses returns the fault that a failure is to be put down to, or nil.
// probed says that another request was finding out whether the host is back.
func (l *faultLog) excuses(p page, end time.Time, err error, probed bool) *fault {
	var dns *hostwise.DNSError
	var down *hostwise.HostDownError
	switch {
	case errors.As(err, &dns), hostwise.PhaseOf(err) == hostwise.PhaseResolve, hostwise.KindOf(err) == hostwise.LocalOutage:
		return l.during(faultDNS, p.begin, end, soakNames)
	case errors.As(err, &down):
		cause := l.during(p.host.Name, down.Since, down.Since, soakVerdict)
		if cause == nil || probed {
			return cause // nil: it was not a fault that it went down for
		}
		return l.during(p.host.Name, p.begin, end, soakRecovery)
	}
	f := l.during(p.host.Name, p.begin, end, 0)
	if f == nil && p.host.Fate == loopnet.DualStack {
		f = l.during(faultIPv6, p.begin, end, 0)
	}
	if f == nil && p.host.Fate == loopnet.DualStack && hostwise.PhaseOf(err) == hostwise.PhaseConnect { // the address that works is not known
		f = l.during(faultDNS, p.begin, end, soakNames)
	}
	return f
}

// A page is one that was asked for.
type page struct {
	host  loopnet.Host
	over  *transport.Transport
	begin time.Time
}

// breaker is one of a host, which each Transport has for itself.
type breaker struct {
	host string
	over *transport.Transport
}

// tally is what has become of the pages.
type tally struct {
	mu                                   sync.Mutex // protects what follows
	asked, answered, quit, excused, lost int        // of healthy hosts
	broken, wrong                        int        // requests to hosts that are broken, and pages of them
	kinds                                map[string]int
	late                                 map[string]time.Duration // of these, the last one, after the end of its fault
	losses                               []string
	underWay                             map[breaker]int
	answers                              map[breaker]time.Time // the last one
}

// ask notes that a page is asked for. judge must follow.
func (s *soak) ask(h loopnet.Host, over *transport.Transport) page {
	s.tally.mu.Lock()
	defer s.tally.mu.Unlock()
	s.tally.underWay[breaker{h.Name, over}]++
	return page{h, over, time.Now()}
}

// judge puts a page, which came unless there is an error, on the right
// account. quit says that its caller has not waited for it.
func (s *soak) judge(p page, err error, quit bool) {
	end := time.Now()
	h, begin, c := p.host, p.begin, &s.tally
	c.mu.Lock()
	defer c.mu.Unlock()
	b := breaker{h.Name, p.over}
	c.underWay[b]--
	probed := c.underWay[b] > 0 || !c.answers[b].Before(begin)
	if err == nil {
		c.answers[b] = end
	}
	var f *fault
	if err != nil && !quit && h.Fate.OK() {
		f = s.faults.excuses(p, end, err, probed)
	}
	if !h.Fate.OK() {
		c.broken++
		if err == nil {
			c.wrong++
		}
		return
	}
	c.asked++
	switch {
	case err == nil:
		c.answered++
	case quit:
		c.quit++
	case f != nil:
		c.excused++
		if hostwise.KindOf(err) == hostwise.Other {
			s.t.Logf("an error of no kind: %v", err)
		}
		kind := f.what + ": " + string(hostwise.KindOf(err))
		c.kinds[kind]++
		if !f.to.IsZero() {
			c.late[kind] = max(c.late[kind], begin.Sub(f.to))
		}
	default:
		c.lost++
		if len(c.losses) < 10 {
			s.t.Logf("lost at %s: %v", end.Format("15:04:05.000"), err)
			c.losses = append(c.losses, fmt.Sprintf("%s of %s, asked for at %s, lost after %v: %v: %v; faults before:%s", h.Name, h.Fate,
				begin.Format("15:04:05.000"), end.Sub(begin).Round(time.Millisecond), hostwise.KindOf(err), err, s.faults.history(h.Name, end)))
		}
	}
}

func (c *tally) String() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var b strings.Builder
	fmt.Fprintf(&b, "pages of healthy hosts: %d asked for, %d answered, %d given up by their callers, %d excused by a fault (%.2f %%), %d lost; %d requests to broken hosts\nexcused:",
		c.asked, c.answered, c.quit, c.excused, 100*float64(c.excused)/float64(max(c.asked, 1)), c.lost, c.broken)
	for _, k := range slices.Sorted(maps.Keys(c.kinds)) {
		fmt.Fprintf(&b, " %d %s (the last one %v after its end),", c.kinds[k], k, c.late[k].Round(time.Millisecond))
	}
	return strings.TrimSuffix(b.String(), ",")
}

func (c *tally) check(t *testing.T) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.losses {
		t.Error(l)
	}
	if c.lost > len(c.losses) {
		t.Errorf("and %d more lost", c.lost-len(c.losses))
	}
	if c.wrong > 0 {
		t.Errorf("%d pages of broken hosts", c.wrong)
	}
	if c.asked == 0 || c.answered < c.asked/2 {
		t.Errorf("%d of %d pages answered: that shows nothing", c.answered, c.asked)
	}
	if share := float64(c.excused) / float64(max(c.asked, 1)); share > soakExcused {
		t.Errorf("%.3f of the pages failed in a fault, want at most %.2f: hosts come back too late", share, soakExcused)
	}
}
