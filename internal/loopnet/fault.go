package loopnet

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// A Fault is what befalls a host or a nameserver for a while.
type Fault string

const (
	Down   Fault = "down"   // nothing listens, and connections are cut
	Hole   Fault = "hole"   // attempts to connect get no answer, and connections are cut; hosts only
	Resets Fault = "resets" // connections are reset; hosts only
	Silent Fault = "silent" // requests get no answer
)

// Somebody else's connection may have a port that is to be opened again, for
// a moment.
const (
	listenTries = 100
	listenPause = 20 * time.Millisecond
)

// Kill has a fault befall a host, at all its addresses. It returns when it has.
// Where the system does not know a Hole, it refuses connections instead.
func (n *Internet) Kill(name string, f Fault) error {
	return n.each(func(d *door) bool { return d.site.Name == name }, func(d *door) error { return d.kill(f) })
}

// Revive ends the fault of a host.
func (n *Internet) Revive(name string) error {
	return n.each(func(d *door) bool { return d.site.Name == name }, (*door).revive)
}

// KillIPv6 has a fault befall the IPv6 addresses of all hosts.
func (n *Internet) KillIPv6(f Fault) error {
	return n.each((*door).isIPv6, func(d *door) error { return d.kill(f) })
}

// ReviveIPv6 ends it.
func (n *Internet) ReviveIPv6() error { return n.each((*door).isIPv6, (*door).revive) }

// each calls f for the doors that are meant, all at once.
func (n *Internet) each(meant func(*door) bool, f func(*door) error) error {
	var wg sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for _, s := range n.sites {
		for _, d := range s.doors {
			if meant(d) {
				wg.Go(func() {
					if err := f(d); err != nil {
						mu.Lock()
						defer mu.Unlock()
						errs = append(errs, fmt.Errorf("loopnet: %s at %s: %w", d.site.Name, d.addr, err))
					}
				})
			}
		}
	}
	wg.Wait()
	return errors.Join(errs...)
}

// KillDNS has a fault, Down or Silent, befall the i-th nameserver.
func (n *Internet) KillDNS(i int, f Fault) error {
	switch f {
	case Silent:
		silent := make(chan struct{})
		n.ns[i].silent.Store(&silent)
		return nil
	case Down:
		return n.ns[i].stop()
	}
	return fmt.Errorf("loopnet: no fault of a nameserver: %q", f)
}

// ReviveDNS ends the fault of the i-th nameserver.
func (n *Internet) ReviveDNS(i int) error {
	if silent := n.ns[i].silent.Swap(nil); silent != nil {
		close(*silent)
	}
	return n.ns[i].start()
}

// A door is an address at which a host answers, unless it has a fault.
type door struct {
	site   *site
	addr   netip.AddrPort
	silent atomic.Pointer[chan struct{}] // closed when the silence ends; nil: there is none

	mu     sync.Mutex // one change at a time; protects what follows
	server *http.Server
	socks  []io.Closer // in its place
}

func (d *door) isIPv6() bool { return d.addr.Addr().Is6() }

// open serves what l accepts.
func (d *door) open(l net.Listener) {
	n := d.site.net
	s := &http.Server{
		Handler:   d,
		TLSConfig: d.site.tls.Clone(), // Serve changes it
		ConnState: n.connState,
		ErrorLog:  log.New(io.Discard, "", 0), // broken handshakes are what some hosts are for
	}
	d.server = s
	if d.site.tls != nil {
		n.wg.Go(func() { s.ServeTLS(l, "", "") })
	} else {
		n.wg.Go(func() { s.Serve(l) })
	}
}

// ServeHTTP answers, unless the door is silent.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if silent := d.silent.Load(); silent != nil {
		select {
		case <-*silent:
		case <-r.Context().Done():
		case <-d.site.net.done:
		}
		panic(http.ErrAbortHandler)
	}
	d.site.ServeHTTP(w, r)
}

func (d *door) kill(f Fault) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if f == Silent {
		silent := make(chan struct{})
		d.silent.Store(&silent)
		return nil
	}
	err := d.shut()
	if err != nil || f == Down {
		return err
	}
	l, err := relisten(d.addr)
	if err != nil {
		return err
	}
	if f == Hole {
		d.socks, _ = stuff(l) // or it is closed, and refuses
		return nil
	}
	d.socks = []io.Closer{l}
	d.site.net.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		}
	})
	return nil
}

func (d *door) revive() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if silent := d.silent.Swap(nil); silent != nil {
		close(*silent)
		return nil
	}
	if d.server != nil || isClosed(d.site.net.done) {
		return nil
	}
	if err := d.shut(); err != nil {
		return err
	}
	l, err := relisten(d.addr)
	if err != nil {
		return err
	}
	d.open(l)
	return nil
}

func (d *door) close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.shut()
}

// shut closes all there is, connections too. d.mu is held.
func (d *door) shut() error {
	var errs []error
	if d.server != nil {
		errs = append(errs, d.server.Close())
		d.server = nil
	}
	for _, c := range d.socks {
		errs = append(errs, c.Close())
	}
	d.socks = nil
	return errors.Join(errs...)
}

// relisten opens a port that was open before.
func relisten(addr netip.AddrPort) (l net.Listener, err error) {
	for range listenTries {
		if l, err = net.Listen("tcp", addr.String()); err == nil {
			return l, nil
		}
		time.Sleep(listenPause)
	}
	return nil, err
}

func isClosed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}
