//go:build linux

package internet

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"math"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/hostwise-go/hostwise/bench/internal/namespace"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

// Config is all that the process of a mini-internet must be told.
type Config struct {
	Scenario   world.Scenario `json:"scenario"`
	Seed       uint64         `json:"seed"`
	Namespaces namespace.Pair `json:"namespaces"` // made by the caller
	Control    string         `json:"control"`    // the unix socket to make
	CAFile     string         `json:"ca_file"`    // the file to make, if the scenario has TLS
}

// realTime is the priority of the world (see chrt(1)). On a shared machine it
// must not wait for its turn, or its delays are not what they say.
const realTime = "20"

// Command is the command line that runs program in real time.
func Command(program ...string) []string {
	return append([]string{"chrt", "-r", realTime}, program...)
}

// maxLifetime ends a world that nobody told to quit.
const maxLifetime = 15 * time.Minute

// Serve runs the mini-internet until it is told to quit on the control socket:
//
//	GET /progress?n=1200   so many URLs were dispatched; things happen to the world at times
//	GET /stats             world.Stats
//	GET /quit
func Serve(c Config) error {
	w, err := world.New(c.Scenario, c.Seed)
	if err != nil {
		return err
	}
	client, err := namespace.OpenTUN(c.Namespaces.Client, clientDevice)
	if err != nil {
		return err
	}
	internet, err := namespace.OpenTUN(c.Namespaces.Internet, internetDevice)
	if err != nil {
		return err
	}
	if err := configure(c.Namespaces, !c.Scenario.V6NoRoute); err != nil {
		return err
	}
	s, err := listen(c.Namespaces.Internet, c.Scenario.TLS)
	if err != nil {
		return err
	}
	var config *tls.Config
	if c.Scenario.TLS {
		if config, err = serverTLS(c.CAFile); err != nil {
			return err
		}
	}
	router := newRouter(w, client, internet)
	dns := newNameServers(w)
	dns.serve(s.dnsUDP, s.dnsTCP)
	web := newWebServers(w, router, config)
	go web.accept(s.web4)
	go web.accept(s.web6)
	go router.run()

	control, err := net.Listen("unix", c.Control)
	if err != nil {
		return err
	}
	quit := make(chan struct{})
	mux := http.NewServeMux()
	mux.Handle("/progress", newTimeline(w, router, dns))
	mux.HandleFunc("/stats", func(rw http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(rw).Encode(stats(router, dns, web))
	})
	mux.HandleFunc("/quit", func(http.ResponseWriter, *http.Request) { close(quit) })
	go func() { _ = http.Serve(control, mux) }()
	select {
	case <-quit:
		return nil
	case <-time.After(maxLifetime):
		return fmt.Errorf("nobody ended the world for %v", maxLifetime)
	}
}

// sockets are those of the internet's side.
type sockets struct {
	dnsUDP     [2]net.PacketConn
	dnsTCP     [2]net.Listener
	web4, web6 net.Listener
}

func listen(internet string, https bool) (*sockets, error) {
	port := "80"
	if https {
		port = "443"
	}
	// A burst of queries must not be lost in front of the servers.
	large := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 8<<20)
		})
	}}
	s := new(sockets)
	return s, namespace.Inside(internet, func() (err error) {
		for k, ip := range world.Resolvers {
			addr := net.JoinHostPort(ip.String(), "53")
			if s.dnsUDP[k], err = large.ListenPacket(context.Background(), "udp", addr); err != nil {
				return err
			}
			if s.dnsTCP[k], err = net.Listen("tcp", addr); err != nil {
				return err
			}
		}
		if s.web4, err = net.Listen("tcp4", "0.0.0.0:"+port); err != nil {
			return err
		}
		s.web6, err = net.Listen("tcp6", "[::]:"+port)
		return err
	})
}

// timeline is what happens to the world while the crawl goes on.
type timeline []*event

// event happens once, when so many URLs were dispatched.
type event struct {
	at     int
	once   sync.Once
	happen func()
}

func newTimeline(w *world.World, r *router, d *nameServers) timeline {
	at := func(share float64) int {
		if share <= 0 {
			return math.MaxInt
		}
		return int(share * float64(len(w.Work)))
	}
	firstServer := r.path(world.Resolvers[0])
	return timeline{
		{at: at(w.Scenario.NSDeathAt), happen: func() {
			d.silent[0].Store(true)
			firstServer.treat(world.Drop)
		}},
		{at: at(w.Scenario.NSReviveAt), happen: func() {
			d.silent[0].Store(false)
			firstServer.treat(world.Deliver)
		}},
		{at: at(w.Scenario.MovedAt), happen: func() {
			d.moved.Store(true)
			for _, h := range w.Hosts {
				if h.Moved != nil { // the old address lives one TTL longer
					old := r.path(h.V4[0].IP)
					time.AfterFunc(time.Duration(h.TTL+1)*time.Second, func() { old.treat(world.Drop) })
				}
			}
		}},
	}
}

func (t timeline) ServeHTTP(rw http.ResponseWriter, q *http.Request) {
	n, err := strconv.Atoi(q.URL.Query().Get("n"))
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadRequest)
		return
	}
	t.reach(n)
}

// reach makes happen what is due when n URLs were dispatched.
func (t timeline) reach(n int) {
	for _, e := range t {
		if n >= e.at {
			e.once.Do(e.happen)
		}
	}
}

func stats(r *router, d *nameServers, w *webServers) world.Stats {
	var usage syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage) // cannot fail
	outP50, outP99 := r.toInternet.Late()
	backP50, backP99 := r.toClient.Late()
	loads := func(c *[2]atomic.Int64) []int64 { return []int64{c[0].Load(), c[1].Load()} }
	return world.Stats{
		QueriesA:           d.queriesA.Load(),
		QueriesAAAA:        d.queriesAAAA.Load(),
		QueriesOther:       d.queriesOther.Load(),
		QueriesTCP:         d.queriesTCP.Load(),
		QueriesDropped:     d.dropped.Load(),
		QueriesRateLimited: d.rateLimited.Load(),
		QueriesRepeated:    d.repeated.Load(),
		QueriesByServer:    loads(&d.queriesByServer),
		SYN:                r.syn4.Load() + r.syn6.Load(),
		SYN4:               r.syn4.Load(),
		SYN6:               r.syn6.Load(),
		SYNRetransmitted:   r.synRetransmitted.Load(),
		SYNDropped:         r.synDropped.Load(),
		Accepted:           w.accepted.Load(),
		Requests:           w.requests.Load(),
		WrongHost:          w.wrongHost.Load(),
		Stray:              r.stray.Load(),
		Packets:            r.packets.Load(),
		LateP50us:          max(outP50, backP50).Microseconds(),
		LateP99us:          max(outP99, backP99).Microseconds(),
		CPU:                float64(usage.Utime.Nano()+usage.Stime.Nano()) / 1e9,
	}
}
