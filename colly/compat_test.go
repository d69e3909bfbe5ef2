package hostwisecolly_test

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
)

// The tests of these files are about what a collector does today and must
// still do. Those of Colly itself are run by .ci/colly-suite.

// A transcript is what a collector and the servers it visits have seen.
type transcript struct {
	start time.Time
	mu    sync.Mutex // protects lines
	lines []string
}

func (l *transcript) add(format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, time.Since(l.start).String()+" "+fmt.Sprintf(format, args...))
}

// sameAsStock runs crawl with a stock collector and with one that is
// attached, each in a world of its own, and compares the transcripts: what
// each side saw, and when. It returns that of the attached one.
func sameAsStock(t *testing.T, crawl func(w *world, c *colly.Collector, log *transcript)) (lines []string) {
	t.Helper()
	var logs [2]transcript
	for i := range logs {
		inWorld(t, func(w *world) {
			c := colly.NewCollector()
			if i == 0 {
				c.WithTransport(w.stock())
			} else {
				w.attach(c)
			}
			logs[i].start = time.Now()
			crawl(w, c, &logs[i])
		})
	}
	stock, attached := logs[0].lines, logs[1].lines
	if !slices.Equal(attached, stock) {
		t.Errorf("the attached collector:\n\t%s\nstock:\n\t%s", strings.Join(attached, "\n\t"), strings.Join(stock, "\n\t"))
	}
	return attached
}

// stock is what Colly uses by default, on the simulated network.
func (w *world) stock() *http.Transport {
	r, dial := w.resolver(), w.net.DialContext
	s := http.DefaultTransport.(*http.Transport).Clone()
	s.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		host, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		addrs, err := r.LookupNetIP(ctx, "ip", host)
		if err != nil {
			return nil, err
		}
		return dial(ctx, network, net.JoinHostPort(addrs[0].String(), port))
	}
	w.servers = append(w.servers, closer(s.CloseIdleConnections))
	return s
}

// resolver makes another one like that of w.tr.
func (w *world) resolver() *dnscache.Resolver {
	r, err := dnscache.New(&dnscache.Options{Servers: []string{"192.0.2.53"}, HostsFile: os.DevNull, Dial: w.net.DialContext})
	if err != nil {
		w.t.Fatal(err)
	}
	w.servers = append(w.servers, r)
	return r
}

// use replaces w's transport, and w.c by a collector attached to it.
func (w *world) use(base *http.Transport, o transport.Options) {
	base.DialContext = w.net.DialContext
	o.Resolver = w.resolver()
	tr, err := transport.New(base, &o)
	if err != nil {
		w.t.Fatal(err)
	}
	w.servers = append(w.servers, w.tr)
	w.tr, w.c = tr, colly.NewCollector(colly.AllowURLRevisit())
	w.h = w.attach(w.c)
}

func (w *world) serveTLS(address string, cert tls.Certificate, h http.HandlerFunc) {
	l, err := w.net.Listen(address)
	if err != nil {
		w.t.Fatal(err)
	}
	s := &http.Server{Handler: h, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, ErrorLog: log.New(io.Discard, "", 0)}
	w.servers = append(w.servers, s)
	go s.ServeTLS(l, "", "")
}

type closer func()

func (c closer) Close() error { c(); return nil }

// site serves name at an address 10 ms away, and logs the requests.
func (w *world) site(log *transcript, name, addr string, h http.HandlerFunc) {
	w.host(name, addr)
	w.net.SetLink(netip.MustParseAddr(addr), simnet.Link{RTT: 10 * ms})
	w.serve(addr+":80", logged(log, h))
}

// logged logs each request as the server sees it.
func logged(log *transcript, h http.HandlerFunc) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			log.add("server: body of %s: %v", r.URL, err)
		}
		var header strings.Builder
		r.Header.WriteSubset(&header, nil) // sorted
		text := fmt.Sprintf("%s %s%s %s %q %q", r.Method, r.Host, r.RequestURI, r.Proto, header.String(), body)
		if _, boundary, ok := strings.Cut(r.Header.Get("Content-Type"), "boundary="); ok {
			text = strings.ReplaceAll(text, boundary, "BOUNDARY") // it is random
		}
		log.add("server: %s", text)
		h(rw, r)
	}
}

// observe logs every callback of c.
func observe(c *colly.Collector, log *transcript) {
	c.OnRequest(func(r *colly.Request) { log.add("OnRequest %s %s", r.Method, r.URL) })
	c.OnResponseHeaders(func(r *colly.Response) { log.add("OnResponseHeaders %s %d", r.Request.URL, r.StatusCode) })
	c.OnResponse(func(r *colly.Response) {
		log.add("OnResponse %s %s %d %s %q", r.Request.Method, r.Request.URL, r.StatusCode, r.Headers.Get("Content-Type"), r.Body)
	})
	c.OnError(func(r *colly.Response, err error) {
		log.add("OnError %s %s %d %s", r.Request.Method, r.Request.URL, r.StatusCode, reason(err))
	})
	c.OnScraped(func(r *colly.Response) { log.add("OnScraped %s", r.Request.URL) })
}

// reason says what a program can find out of err, whichever its type.
func reason(err error) string {
	var ne net.Error
	var visited *colly.AlreadyVisitedError
	for _, target := range []error{
		context.Canceled, io.ErrUnexpectedEOF, gzip.ErrHeader, syscall.ECONNREFUSED, syscall.ECONNRESET, colly.ErrAbortedAfterHeaders, colly.ErrAbortedBeforeRequest,
		colly.ErrRobotsTxtBlocked, colly.ErrForbiddenDomain, http.ErrUseLastResponse,
	} {
		if errors.Is(err, target) {
			return target.Error()
		}
	}
	switch {
	case errors.As(err, &visited):
		return "already visited: " + visited.Destination.String()
	case errors.As(err, &ne):
		return fmt.Sprintf("net.Error, timeout %v", ne.Timeout())
	}
	return fmt.Sprint(err)
}

// count is the number of lines that contain part.
func count(lines []string, part string) (n int) {
	for _, l := range lines {
		if strings.Contains(l, part) {
			n++
		}
	}
	return n
}

// wants checks how many lines of the transcript contain each part.
func wants(t *testing.T, lines []string, want map[string]int) {
	t.Helper()
	for part, n := range want {
		if got := count(lines, part); got != n {
			t.Errorf("%d lines with %q, want %d:\n\t%s", got, part, n, strings.Join(lines, "\n\t"))
		}
	}
}
