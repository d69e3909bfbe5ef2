//go:build linux

package internet

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hostwise-go/hostwise/bench/lab/world"
)

// webServers are all the web servers of the world, behind one listener for
// each family. The local address of a connection tells whose it is.
type webServers struct {
	w                   *world.World
	router              *router
	longIdle, shortIdle handover // two servers, since http.Server has one idle time-out
	text                []byte

	accepted, requests, wrongHost atomic.Int64
}

// newWebServers serves plain HTTP if config is nil.
func newWebServers(w *world.World, r *router, config *tls.Config) *webServers {
	const line = "<p>The quick brown fox jumps over the lazy dog, and the page goes on a little.</p>\n"
	s := &webServers{
		w:         w,
		router:    r,
		longIdle:  make(handover, 1024),
		shortIdle: make(handover, 1024),
		text:      []byte(strings.Repeat(line, 128)),
	}
	for l, idle := range map[net.Listener]time.Duration{
		s.longIdle:  75 * time.Second,
		s.shortIdle: time.Duration(w.Scenario.IdleMS * float64(time.Millisecond)),
	} {
		server := &http.Server{Handler: s, IdleTimeout: idle}
		if config != nil {
			l = tls.NewListener(l, config)
		}
		go func() { _ = server.Serve(l) }()
	}
	return s
}

// accept hands the connections of a listener to the two servers.
func (s *webServers) accept(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.accepted.Add(1)
		if h := s.hostAt(c.LocalAddr()); h != nil && h.ShortIdle {
			s.shortIdle <- c
		} else {
			s.longIdle <- c
		}
	}
}

func (s *webServers) hostAt(local net.Addr) *world.Host {
	return s.router.host(local.(*net.TCPAddr).AddrPort().Addr().Unmap())
}

func (s *webServers) ServeHTTP(rw http.ResponseWriter, q *http.Request) {
	s.requests.Add(1)
	h := s.hostAt(q.Context().Value(http.LocalAddrContextKey).(net.Addr))
	if h == nil || h.Name != q.Host {
		s.wrongHost.Add(1)
		http.Error(rw, "misdirected", http.StatusMisdirectedRequest)
		return
	}
	if h.Fate == world.Mute {
		<-q.Context().Done()
		return
	}
	page, _ := strconv.Atoi(strings.TrimPrefix(q.URL.Path, "/p/")) // 0 for a URL that is not of the crawl
	time.Sleep(s.w.Think(h, page))
	if h.Closes {
		rw.Header().Set("Connection", "close")
	}
	var head strings.Builder
	fmt.Fprintf(&head, "<!doctype html><title>%s %d</title>", h.Name, page)
	for j := range 8 {
		fmt.Fprintf(&head, "<a href=\"//%s/p/%d\">x</a>\n", s.w.Link(page, j).Name, page+j)
	}
	text := s.text[:s.w.TextSize(page)]
	rw.Header().Set("Content-Type", "text/html; charset=utf-8")
	rw.Header().Set("Content-Length", strconv.Itoa(head.Len()+len(text)))
	_, _ = rw.Write([]byte(head.String()))
	_, _ = rw.Write(text)
}

// handover is a net.Listener whose connections come from a channel.
type handover chan net.Conn

func (h handover) Accept() (net.Conn, error) { return <-h, nil }
func (h handover) Close() error              { return nil }
func (h handover) Addr() net.Addr            { return &net.TCPAddr{} }
