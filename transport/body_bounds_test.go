package transport_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/simnet"
	"github.com/hostwise-go/hostwise/transport"
)

// pieces serves bodies of n pieces of size bytes, one every d.
func pieces(n, size int, d time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for range n {
			select {
			case <-time.After(d):
			case <-r.Context().Done():
				return
			}
			w.Write(make([]byte, size))
			w.(http.Flusher).Flush()
		}
	})
}

// Only the time in which a read waits for the server counts.
func TestBounds_TimeOfABody(t *testing.T) {
	const never = 0
	for _, tt := range []struct {
		name    string
		options transport.Options
		n, size int           // pieces
		every   time.Duration // of the server's
		pause   time.Duration // of the caller's, before each read
		fails   time.Duration // after the headers, in all
		got     int           // bytes, by then
	}{
		{"a byte each 29 s", transport.Options{}, 100, 1, 29 * time.Second, 0, time.Minute, 2},
		{"a byte each 29 s, at any rate", transport.Options{MinBodyRate: -1}, 100, 1, 29 * time.Second, 0, never, 100},
		{"a byte in 30 s", transport.Options{}, 100, 1, 30*time.Second + 1, 0, 30 * time.Second, 0},
		{"idleness of five seconds", transport.Options{IdleBodyTimeout: 4 * time.Second}, 100, 1000, 5 * time.Second, 0, 4 * time.Second, 0},
		{"idleness of an hour", transport.Options{IdleBodyTimeout: -1}, 2, 1, time.Hour, 0, never, 2},
		{"idleness of an hour, but for the rate", transport.Options{IdleBodyTimeout: -1, MinBodyRate: 1}, 2, 1, time.Hour, 0, time.Minute, 0},
		{"just the rate", transport.Options{MinBodyRate: 100}, 50, 1000, 9900 * ms, 0, never, 50_000},
		{"just below the rate", transport.Options{MinBodyRate: 100}, 50, 999, 9900 * ms, 0, time.Minute, 6 * 999},
		{"a caller that takes its time", transport.Options{}, 20, 1, time.Second, time.Minute, never, 20},
		{"a caller that takes its time, of a server that does, too", transport.Options{}, 5, 1, 70 * time.Second, 45 * time.Second, 45*time.Second + 25*time.Second + 45*time.Second + 25*time.Second + 45*time.Second + 10*time.Second, 2},
	} {
		for _, http2 := range []bool{false, true} {
			t.Run(tt.name+", HTTP/2 "+strconv.FormatBool(http2), func(t *testing.T) {
				base, cert := anyHost(t)
				base.ForceAttemptHTTP2 = http2
				inWorld(t, base, tt.options, func(w *world) {
					head := make(chan struct{}) // so that the headers come first
					h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						w.(http.Flusher).Flush()
						<-head
						pieces(tt.n, tt.size, tt.every).ServeHTTP(w, r)
					})
					u := w.sites(1, "https", cert, h)[0]
					resp, err := w.client.Get(u)
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					close(head)
					start := time.Now()
					got := 0
					for err == nil {
						time.Sleep(tt.pause)
						var n int
						n, err = resp.Body.Read(make([]byte, 64<<10))
						got += n
					}
					if tt.fails == never {
						if err != io.EOF || got != tt.got {
							t.Errorf("%d bytes, then after %v: %v, want %d and io.EOF", got, time.Since(start), err, tt.got)
						}
						return
					}
					if took := time.Since(start); took != tt.fails || got != tt.got || hostwise.KindOf(err) != hostwise.HTTPBodyTimeout || hostwise.PhaseOf(err) != hostwise.PhaseBody || !errors.Is(err, os.ErrDeadlineExceeded) {
						t.Errorf("%d bytes, then after %v: %v, want %d and an %s after %v", got, took, err, tt.got, hostwise.HTTPBodyTimeout, tt.fails)
					}
					if _, again := resp.Body.Read(make([]byte, 1)); hostwise.KindOf(again) != hostwise.HTTPBodyTimeout {
						t.Errorf("the next read: %v", again)
					}
				})
			})
		}
	}
}

// What was upgraded is no body: a WebSocket may be silent for ever.
func TestBounds_NoneAfterAnUpgrade(t *testing.T) {
	for _, tt := range []struct{ name, method, head string }{
		{"101", "GET", "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"},
		{"CONNECT", "CONNECT", "HTTP/1.1 200 OK\r\n\r\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, transport.Options{MaxBodyBytes: 2}, func(w *world) {
				w.host("a.test", "192.0.2.1")
				w.accept("192.0.2.1:80", func(c net.Conn) {
					defer c.Close()
					readSome(c)
					io.WriteString(c, tt.head)
					time.Sleep(time.Hour)
					io.WriteString(c, "hello")
				})
				req, err := http.NewRequest(tt.method, "http://a.test/", nil)
				if err != nil {
					t.Fatal(err)
				}
				if tt.method == "GET" {
					req.Header = http.Header{"Connection": {"Upgrade"}, "Upgrade": {"websocket"}}
				}
				resp, err := w.tr.RoundTrip(req)
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				if b, err := io.ReadAll(resp.Body); string(b) != "hello" || err != nil {
					t.Errorf("%q, %v after %v, want hello", b, err, time.Since(w.start))
				}
			})
		})
	}
}

func TestBounds_SizeOfABody(t *testing.T) {
	const most = 1000
	zipped := func(n int) string {
		b := &bytes.Buffer{}
		z := gzip.NewWriter(b)
		z.Write(make([]byte, n))
		z.Close()
		return b.String()
	}
	for _, tt := range []struct {
		name   string
		header string // key: value
		body   string
		got    int // bytes
		fails  bool
	}{
		{"just as much", "Server: x", strings.Repeat("x", most), most, false},
		{"one more", "Server: x", strings.Repeat("x", most+1), most, true},
		{"much more", "Server: x", strings.Repeat("x", 100_000), most, true},
		{"just as much, and says so", "Content-Length: 1000", strings.Repeat("x", most), most, false},
		{"one more, and says so", "Content-Length: 1001", strings.Repeat("x", most+1), 0, true},
		{"no end of it", "Content-Length: 9223372036854775807", strings.Repeat("x", most), 0, true},
		{"nothing", "Content-Length: 0", "", 0, false},
		{"zipped, just as much", "Content-Encoding: gzip", zipped(most), most, false},
		{"zipped, one more", "Content-Encoding: gzip", zipped(most + 1), most, true},
		{"zipped, a bomb", "Content-Encoding: gzip", zipped(10 << 20), most, true},
	} {
		for _, size := range []int{1, 300, most, most + 1, 64 << 10} { // of reads
			t.Run(tt.name+", read by "+strconv.Itoa(size), func(t *testing.T) {
				inWorld(t, nil, transport.Options{MaxBodyBytes: most}, func(w *world) {
					w.host("a.test", "192.0.2.1")
					w.accept("192.0.2.1:80", func(c net.Conn) {
						defer c.Close()
						readSome(c)
						io.WriteString(c, "HTTP/1.1 200 OK\r\nConnection: close\r\n"+tt.header+"\r\n\r\n"+tt.body)
					})
					resp, err := w.client.Get("http://a.test/")
					if err != nil {
						t.Fatal(err)
					}
					defer resp.Body.Close()
					got := 0
					for err == nil {
						var n int
						n, err = resp.Body.Read(make([]byte, size))
						got += n
					}
					if failed := hostwise.KindOf(err) == hostwise.HTTPBodyTooLarge; got != tt.got || failed != tt.fails || !failed && err != io.EOF {
						t.Errorf("%d bytes, then %v, want %d, too large: %v", got, err, tt.got, tt.fails)
					}
					if _, again := resp.Body.Read(make([]byte, 1)); hostwise.KindOf(again) != hostwise.KindOf(err) {
						t.Errorf("the next read: %v, after %v", again, err)
					}
				})
			})
		}
	}
	// A response without a body has no size, whatever it says.
	inWorld(t, nil, transport.Options{MaxBodyBytes: 1}, func(w *world) {
		w.host("a.test", "192.0.2.1")
		w.serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Content-Length", "1000") }), "192.0.2.1:80")
		resp, err := w.client.Head("http://a.test/")
		if err != nil || resp.ContentLength != 1000 {
			t.Fatalf("%v, %v", resp, err)
		}
		if _, err := io.ReadAll(resp.Body); err != nil {
			t.Error(err)
		}
	})
}

// An upload may take as long as it likes, if it goes on or if the caller is
// the one who is slow.
func TestBounds_TimeOfAnUpload(t *testing.T) {
	slow := func(r io.Reader, n int, d time.Duration) { // reads n bytes every d
		for {
			if _, err := io.CopyN(io.Discard, r, int64(n)); err != nil {
				return
			}
			time.Sleep(d)
		}
	}
	const size = 320 << 10
	for _, tt := range []struct {
		name  string
		body  func() io.Reader
		serve func(r io.Reader)
		kind  hostwise.Kind // "" for none
		took  time.Duration
	}{
		{"a server that takes 16 KiB in 2 s", func() io.Reader { return bytes.NewReader(make([]byte, size)) }, func(r io.Reader) { slow(r, 16<<10, 2*time.Second) }, "", 40 * time.Second},
		{"a server that takes 64 KiB, and no more", func() io.Reader { return bytes.NewReader(make([]byte, size)) }, func(r io.Reader) {
			io.CopyN(io.Discard, r, 64<<10)
			time.Sleep(time.Hour)
		}, hostwise.HTTPWriteTimeout, 15 * time.Second},
		{"a caller of a byte a minute", func() io.Reader {
			r, w := io.Pipe()
			go func() {
				for range 10 {
					time.Sleep(time.Minute)
					w.Write([]byte("x"))
				}
				w.Close()
			}()
			return r
		}, func(r io.Reader) { io.Copy(io.Discard, r) }, "", 10 * time.Minute},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inWorld(t, nil, transport.Options{}, func(w *world) {
				w.host("a.test", "192.0.2.1")
				w.accept("192.0.2.1:80", func(c net.Conn) {
					defer c.Close()
					req, err := http.ReadRequest(bufio.NewReaderSize(c, 16))
					if err != nil {
						t.Error(err)
						return
					}
					tt.serve(req.Body)
					io.WriteString(c, "HTTP/1.1 204 No Content\r\n\r\n")
				})
				req, err := http.NewRequest("POST", "http://a.test/", tt.body())
				if err != nil {
					t.Fatal(err)
				}
				resp, err := w.tr.RoundTrip(req)
				if err == nil {
					resp.Body.Close()
				}
				if took := time.Since(w.start); hostwise.KindOf(err) != tt.kind || took != tt.took {
					t.Errorf("%v after %v, want kind %q after %v", err, took, tt.kind, tt.took)
				}
				time.Sleep(time.Hour) // for the server
			})
		})
	}
}

// A connection that is dead without a sign, behind a router that has
// forgotten it, is found out while nobody uses it.
func TestBounds_DeadHTTP2ConnectionIsClosed(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options transport.Options
		after   time.Duration // the connection is closed; 0: not in this minute
	}{
		{"by default", transport.Options{}, 15 * time.Second},
		{"sooner", transport.Options{SendPingTimeout: 2 * time.Second, PingTimeout: time.Second}, 3 * time.Second},
		{"without pings", transport.Options{SendPingTimeout: -1}, 0},
	} {
		t.Run(tt.name, func(t *testing.T) {
			base, cert := anyHost(t)
			base.IdleConnTimeout = time.Hour
			inWorld(t, base, tt.options, func(w *world) {
				w.host("a.test", "192.0.2.1")
				w.serveTLS(ok, cert, "192.0.2.1:443")
				w.takes(0, "https://a.test/")
				time.Sleep(time.Minute) // a live one stays
				if got := w.tr.Stats().Conns; got != 1 {
					t.Fatalf("%d connections, want 1", got)
				}
				w.link("192.0.2.1", simnet.Link{Fault: simnet.BlackHole})
				start := time.Now()
				for w.tr.Stats().Conns > 0 && time.Since(start) < time.Minute {
					time.Sleep(250 * ms)
				}
				if took := time.Since(start); tt.after != 0 && (took > tt.after+250*ms || took < tt.after-10*time.Second) || tt.after == 0 && took < time.Minute {
					t.Errorf("closed after %v, want %v at most", took, tt.after)
				}
			})
		})
	}
}
