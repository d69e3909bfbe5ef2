package transport_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
)

// A fileCount counts sockets: connections and attempts to connect.
type fileCount struct {
	net *simnet.Network

	mu         sync.Mutex // protects what follows
	open, most int
}

func (c *fileCount) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open += n
	c.most = max(c.most, c.open)
}

func (c *fileCount) dial(ctx context.Context, network, address string) (net.Conn, error) {
	c.add(1)
	conn, err := c.net.DialContext(ctx, network, address)
	if err != nil {
		c.add(-1)
		return nil, err
	}
	return &countedConn{Conn: conn, count: c}, nil
}

type countedConn struct {
	net.Conn
	count *fileCount
	once  sync.Once
}

func (c *countedConn) Close() error {
	err := c.Conn.Close()
	c.once.Do(func() { c.count.add(-1) })
	return err
}

// counts returns how many are open when all is quiet, and how many were at the
// most since the last call.
func (c *fileCount) counts() (open, most int) {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	most, c.most = c.most, c.open
	return c.open, most
}

// withFiles returns a Transport that may have so many files, and their count.
func (w *world) withFiles(o transport.Options) (*transport.Transport, *fileCount) {
	w.t.Helper()
	c := &fileCount{net: w.net}
	o.Resolver = w.r
	tr, err := transport.New(&http.Transport{DialContext: c.dial}, &o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.servers = append(w.servers, tr)
	return tr, c
}

// halfDead makes hosts with two addresses, of which the first drops all
// packets, and looks them up.
func (w *world) halfDead(n int, live string) (names []string) {
	w.serve(ok, live+":80")
	for i := range n {
		dead, name := fmt.Sprintf("203.0.113.%d", i+1), fmt.Sprintf("h%d.test", i+1)
		w.link(dead, simnet.Link{Fault: simnet.BlackHole})
		w.host(name, dead, live)
		names = append(names, name)
	}
	w.r.Prefetch(context.Background(), names)
	return names
}

// The second attempts of races wait for one another when there are no more
// file descriptors, and begin the moment that there are.
func TestMaxFiles_SecondAttemptsWait(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.link("192.0.2.1", simnet.Link{RTT: 100 * ms})
		names := w.halfDead(3, "192.0.2.1")
		tr, files := w.withFiles(transport.Options{MaxFiles: 4}) // 3 connections, 1 to spare
		start := time.Now()
		took := make([]time.Duration, len(names))
		var wg sync.WaitGroup
		for i, name := range names {
			wg.Go(func() {
				conn, err := tr.DialContext(context.Background(), "tcp", name+":80")
				took[i] = time.Since(start)
				if err != nil {
					t.Error(err)
					return
				}
				defer conn.Close()
				time.Sleep(time.Second)
			})
		}
		wg.Wait()
		slices.Sort(took) // nobody says whose turn it is
		for i, want := range []time.Duration{350 * ms, 450 * ms, 550 * ms} {
			if took[i] != want {
				t.Errorf("dial %d: connected after %v, want %v", i+1, took[i], want)
			}
		}
		if open, most := files.counts(); open != 0 || most != 4 {
			t.Errorf("%d file descriptors in the end, %d at most, want 0 and 4", open, most)
		}
	})
}

// A crawl of hosts whose first address is dead gets all pages with few file
// descriptors, idle connections included, and never has more.
func TestMaxFiles_Bound(t *testing.T) {
	for _, max := range []int{2, 3, 8, 20} {
		t.Run(fmt.Sprint(max), func(t *testing.T) {
			inWorld(t, nil, transport.Options{}, func(w *world) {
				w.link("192.0.2.1", simnet.Link{RTT: 20 * ms})
				names := w.halfDead(100, "192.0.2.1")
				tr, files := w.withFiles(transport.Options{MaxFiles: max, MaxConns: -1, DisableMemory: true})
				client := &http.Client{Transport: tr}
				var wg sync.WaitGroup
				for _, name := range names {
					wg.Go(func() {
						resp, err := client.Get("http://" + name + "/")
						if err != nil {
							t.Error(err)
							return
						}
						resp.Body.Close()
					})
				}
				wg.Wait()
				if _, most := files.counts(); most != max {
					t.Errorf("%d file descriptors at most, want %d", most, max)
				}
			})
		})
	}
}

// Dials that all hold an attempt and want another one end when their time is
// up, not later: no dial waits for another without an end.
func TestMaxFiles_NoDeadlock(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		const dials = 8
		tr, files := w.withFiles(transport.Options{MaxFiles: 5, DialTimeout: 5 * time.Second}) // 4 connections, 1 to spare
		var names []string
		for i := range dials {
			var addrs []string
			for k := range 4 {
				addrs = append(addrs, fmt.Sprintf("198.51.%d.%d", 100+i, k+1))
				w.link(addrs[k], simnet.Link{Fault: simnet.BlackHole})
			}
			names = append(names, fmt.Sprintf("dead%d.test", i))
			w.host(names[i], addrs...)
		}
		w.r.Prefetch(context.Background(), names)
		start := time.Now()
		var wg sync.WaitGroup
		for _, name := range names {
			wg.Go(func() {
				_, err := tr.DialContext(context.Background(), "tcp", name+":80")
				var e *hostwise.ConnectError
				if !errors.As(err, &e) || e.Kind != hostwise.ConnectTimeout {
					t.Errorf("%s: %v, want %s", name, err, hostwise.ConnectTimeout)
				}
			})
		}
		wg.Wait()
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("all done after %v, want 10s: two rounds of 4 dials", took)
		}
		if open, most := files.counts(); open != 0 || most != 5 {
			t.Errorf("%d file descriptors in the end, %d at most, want 0 and 5", open, most)
		}
	})
}

// What dials have held is there for the next when they end, however they do.
func TestMaxFiles_NothingIsLost(t *testing.T) {
	inWorld(t, nil, transport.Options{}, func(w *world) {
		w.link("192.0.2.1", simnet.Link{RTT: 100 * ms})
		w.link("192.0.2.2", simnet.Link{RTT: 100 * ms})
		w.serve(ok, "192.0.2.2:80")
		names := w.halfDead(30, "192.0.2.1")
		for i := range 10 { // both live, the second as fast: it wins, and the first comes late
			name := fmt.Sprintf("both%d.test", i)
			w.host(name, "192.0.2.2", "192.0.2.1")
			names = append(names, name)
		}
		w.r.Prefetch(context.Background(), names)
		tr, files := w.withFiles(transport.Options{MaxFiles: 4, ConnectionAttemptDelay: 10 * ms, Breaker: transport.BreakerOptions{Disable: true}})
		var wg sync.WaitGroup
		for i, name := range names {
			wg.Go(func() { // some have no time for the second address, some just so much
				ctx, cancel := context.WithTimeout(context.Background(), time.Duration(5*i)*ms)
				defer cancel()
				conn, err := tr.DialContext(ctx, "tcp", name+":80")
				if err == nil {
					conn.Close()
				}
			})
		}
		wg.Wait()
		if open, _ := files.counts(); open != 0 {
			t.Errorf("%d file descriptors left", open)
		}
		for _, name := range names[:30] { // one after the other: each needs the one to spare
			conn, err := tr.DialContext(context.Background(), "tcp", name+":80")
			if err != nil {
				t.Fatal(err)
			}
			conn.Close()
		}
		if _, most := files.counts(); most != 2 {
			t.Errorf("%d file descriptors at most, want 2", most)
		}
	})
}

func TestMaxFiles_OneIsTooFew(t *testing.T) {
	_, err := transport.New(nil, &transport.Options{Resolver: (*net.Resolver)(nil), MaxFiles: 1})
	if err == nil || !strings.Contains(err.Error(), "Options.MaxFiles is 1, must be at least 2") {
		t.Errorf("MaxFiles 1: %v, want an error that names the option", err)
	}
}
