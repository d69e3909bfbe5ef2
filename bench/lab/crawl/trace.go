package crawl

import (
	"context"
	"net/http/httptrace"
	"sync"
	"time"
)

// Phases are parts of the time to first byte, as httptrace tells them.
type Phases struct {
	DNS, Connect time.Duration
	Reused       bool // the connection
}

// tracer watches one request. The hooks of a race between two addresses run
// at the same time, and those of a dial may outlive its request.
type tracer struct {
	mu                     sync.Mutex // protects what follows
	seen                   Phases
	dnsStart, connectStart time.Time
}

func (t *tracer) with(ctx context.Context) context.Context {
	locked := func(f func()) {
		t.mu.Lock()
		defer t.mu.Unlock()
		f()
	}
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		DNSStart: func(httptrace.DNSStartInfo) {
			locked(func() { t.dnsStart = time.Now() })
		},
		DNSDone: func(httptrace.DNSDoneInfo) {
			locked(func() { t.seen.DNS = time.Since(t.dnsStart) })
		},
		ConnectStart: func(_, _ string) {
			locked(func() { t.connectStart = time.Now() })
		},
		ConnectDone: func(_, _ string, _ error) {
			locked(func() { t.seen.Connect = time.Since(t.connectStart) })
		},
		GotConn: func(i httptrace.GotConnInfo) {
			locked(func() { t.seen.Reused = i.Reused })
		},
	})
}

func (t *tracer) phases() Phases {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.seen
}
