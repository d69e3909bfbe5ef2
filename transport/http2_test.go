package transport_test

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/transport"
)

// HTTP/2 frames, settings and errors: RFC 9113, sections 6 and 7.
const (
	frameHeaders  = 1
	frameRST      = 3
	frameSettings = 4
	frameGoAway   = 7

	refusedStream = 7
)

// frame writes an HTTP/2 frame: RFC 9113, section 4.1.
func frame(w io.Writer, kind byte, stream uint32, payload []byte) {
	b := binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind))
	w.Write(append(binary.BigEndian.AppendUint32(append(b, 0), stream), payload...))
}

// goAway tells the client that streams up to last have been processed.
func goAway(w io.Writer, last, code uint32) {
	frame(w, frameGoAway, 0, binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), code))
}

// requests calls f for the stream of each request that comes.
func requests(c io.Reader, f func(stream uint32)) {
	head := make([]byte, 9)
	for {
		if _, err := io.ReadFull(c, head); err != nil {
			return
		}
		size := int64(head[0])<<16 | int64(head[1])<<8 | int64(head[2])
		if _, err := io.CopyN(io.Discard, c, size); err != nil {
			return
		}
		if head[3] == frameHeaders {
			f(binary.BigEndian.Uint32(head[5:]))
		}
	}
}

// A server may refuse a request over HTTP/2 in ways that have net/http try
// again, and in one of them for ever.
func TestHTTP2_ARequestCostsThreeConnectionsAtMost(t *testing.T) {
	const enough = 100 // connections of net/http's
	refuse := func(c net.Conn) {
		requests(c, func(stream uint32) { frame(c, frameRST, stream, binary.BigEndian.AppendUint32(nil, refusedStream)) })
	}
	for _, tt := range []struct {
		name  string
		idle  time.Duration // http.Transport.IdleConnTimeout
		serve func(c net.Conn)
		kind  hostwise.Kind
		dials int
	}{
		{"GOAWAY at once", 0, func(c net.Conn) {
			goAway(c, 0, 0)
			io.Copy(io.Discard, c) // until the client closes
		}, hostwise.TooManyDials, 3},
		{"GOAWAY at once, closed", 0, func(c net.Conn) {
			goAway(c, 0, 0)
			time.Sleep(ms)
			c.Close()
		}, hostwise.TooManyDials, 3},
		{"GOAWAY upon the request, which was not processed", 0, func(c net.Conn) {
			requests(c, func(uint32) { goAway(c, 0, 0) })
		}, hostwise.TooManyDials, 3},
		{"GOAWAY upon the request, which was", 0, func(c net.Conn) {
			requests(c, func(stream uint32) { goAway(c, stream, 2); c.Close() })
		}, hostwise.H2GoAway, 1},
		// net/http tries seven times, at last 32 s apart.
		{"REFUSED_STREAM for ever", 0, refuse, hostwise.H2RefusedStream, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, cert := anyHost(t)
			base.IdleConnTimeout = tt.idle
			inWorld(t, base, transport.Options{}, func(w *world) {
				w.host("a.test", "192.0.2.1")
				config := &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}}
				w.accept("192.0.2.1:443", func(raw net.Conn) {
					defer raw.Close()
					c := tls.Server(raw, config)
					io.ReadFull(c, make([]byte, len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")))
					frame(c, frameSettings, 0, nil)
					tt.serve(c)
				})
				err := w.fails("https://a.test/", tt.kind, hostwise.PhaseRequest)
				var e *hostwise.RequestError
				if !errors.As(err, &e) || e.Host != "a.test:443" {
					t.Errorf("err = %v, want a RequestError of a.test:443", err)
				}
				if got := w.dials("192.0.2.1"); got > tt.dials {
					t.Errorf("%d dials, want at most %d", got, tt.dials)
				}
				took := time.Since(w.start)

				// net/http alone, which does not come to an end by itself.
				stock := base.Clone()
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
				defer cancel()
				var mu sync.Mutex
				var conns []net.Conn
				stock.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
					c, err := w.net.DialContext(ctx, network, "192.0.2.1:443")
					mu.Lock()
					defer mu.Unlock()
					if conns = append(conns, c); len(conns) == enough {
						cancel()
					}
					return c, err
				}
				req, err := http.NewRequestWithContext(ctx, "GET", "https://a.test/", nil)
				if err != nil {
					t.Fatal(err)
				}
				begin := time.Now()
				_, err = stock.RoundTrip(req)
				elapsed := time.Since(begin)
				synctest.Wait() // for the last dial, which the request has left
				mu.Lock()
				defer mu.Unlock()
				t.Logf("hostwise: %d connections in %v. net/http: %d in %v: %v", tt.dials, took.Round(time.Second), len(conns), elapsed.Round(time.Second), err)
				for _, c := range conns { // it has forgotten them, and keeps them
					c.Close()
				}
			})
		})
	}
}
