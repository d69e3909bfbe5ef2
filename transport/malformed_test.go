package transport_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"encoding/binary"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/transport"
)

func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return b.String()
}

// h2Frame is one of HTTP/2's: RFC 9113, section 4.1.
func h2Frame(kind, flags byte, stream uint32, payload string) string {
	b := append(binary.BigEndian.AppendUint32(nil, uint32(len(payload))<<8|uint32(kind)), flags)
	return string(binary.BigEndian.AppendUint32(b, stream)) + payload
}

const (
	h2Data, h2Headers, h2Settings, h2Push, h2Continuation = 0, 1, 4, 5, 9
	endStream, endHeaders                                 = 1, 4
	h2OK                                                  = "\x88" // :status 200: RFC 7541, appendix A, 8
)

// What servers send that is no HTTP, or hardly: each is a typed error, in the
// headers or in the body, or a response where net/http takes it for one. Nothing
// hangs, and nothing is left.
var malformed = []struct {
	name, raw string
	kind      hostwise.Kind // "": a response
	phase     hostwise.Phase
	body      string
}{
	{"no status line", "hello\r\n\r\n", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"HTTP/0.9", "<html>old</html>", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"a status without digits", "HTTP/1.1 abc OK\r\n\r\n", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"a negative status", "HTTP/1.1 -20 OK\r\n\r\n", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"a status of four digits", "HTTP/1.1 2000 OK\r\n\r\n", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"HTTP/9.9", "HTTP/9.9 200 OK\r\nContent-Length: 2\r\n\r\nok", "", "", "ok"},
	{"another protocol", "SSH-2.0-OpenSSH_9.2\r\n", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"nothing", "", hostwise.HTTPEOF, hostwise.PhaseRequest, ""},
	{"half a status line", "HTTP/1.", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"half the headers", "HTTP/1.1 200 OK\r\nServer: x", hostwise.HTTPEOF, hostwise.PhaseRequest, ""},
	{"a negative Content-Length", "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nok", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"a Content-Length beyond 64 bits", "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\nok", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"two Content-Lengths", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"the same Content-Length twice", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "", "", "ok"},
	{"a body shorter than its length", "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok", hostwise.HTTPEOF, hostwise.PhaseBody, "ok"},
	{"a body longer than its length", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokokok", "", "", "ok"},
	{"a chunk size that is none", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nok\r\n0\r\n\r\n", hostwise.HTTPMalformed, hostwise.PhaseBody, ""},
	{"a chunk size beyond 64 bits", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\nok", hostwise.HTTPMalformed, hostwise.PhaseBody, ""},
	{"a chunk longer than its size", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nok\r\n0\r\n\r\n", hostwise.HTTPMalformed, hostwise.PhaseBody, "o"},
	{"a chunk cut off", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nok", hostwise.HTTPEOF, hostwise.PhaseBody, "ok"},
	{"a chunk line without end", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;" + strings.Repeat("x", 64<<10), hostwise.HTTPMalformed, hostwise.PhaseBody, ""},
	{"an unknown Transfer-Encoding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: magic\r\n\r\nok", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"NUL in a header", "HTTP/1.1 200 OK\r\nX-Nul: a\x00b\r\nContent-Length: 2\r\n\r\nok", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"a header without colon", "HTTP/1.1 200 OK\r\nhello\r\n\r\n", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"a space before the colon", "HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 2\r\n\r\nok", "", "", "ok"},
	{"a folded first header", "HTTP/1.1 200 OK\r\n x: y\r\n\r\n", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"headers without end", "HTTP/1.1 200 OK\r\n" + strings.Repeat("X: "+strings.Repeat("y", 1000)+"\r\n", 400), hostwise.HTTPHeaderTooLarge, hostwise.PhaseRequest, ""},
	{"a status line without end", "HTTP/1.1 200 " + strings.Repeat("y", 400<<10), hostwise.HTTPHeaderTooLarge, hostwise.PhaseRequest, ""},
	{"gzip that is none", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 10\r\n\r\n0123456789", hostwise.HTTPMalformed, hostwise.PhaseBody, ""},
	{"gzip cut off", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzipped(strings.Repeat("ok", 10))[:15], hostwise.HTTPEOF, hostwise.PhaseBody, strings.Repeat("ok", 10)},
	{"gzip with another checksum", "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n" + gzipped("ok")[:18] + "\x00\x00\x00\x00\x00\x00\x00\x00", hostwise.HTTPMalformed, hostwise.PhaseBody, "ok"},
	{"1xx with a body", "HTTP/1.1 103 Early Hints\r\nContent-Length: 4\r\n\r\nbodyHTTP/1.1 200 OK\r\n\r\n", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"1xx for ever", strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("y", 1000)+"\r\n\r\n", 400), hostwise.HTTPHeaderTooLarge, hostwise.PhaseRequest, ""},
	{"101 unasked for", "HTTP/1.1 101 Switching Protocols\r\n\r\nok", "", "", ""},
	{"204 with a body", "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", "", "", ""},
	{"two responses", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 500 Oops\r\n\r\n", "", "", "ok"},

	{"h2: HTTP/1", "h2HTTP/1.1 200 OK\r\n\r\n", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"h2: garbage", "h2" + strings.Repeat("\xff", 64), hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"h2: nothing", "h2", hostwise.HTTPEOF, hostwise.PhaseRequest, ""},
	{"h2: half a frame", "h2" + h2Frame(h2Settings, 0, 0, "") + "\x00\x00\xff\x01", hostwise.HTTPEOF, hostwise.PhaseRequest, ""},
	{"h2: a frame beyond the size", "h2" + h2Frame(h2Settings, 0, 0, "") + "\xff\xff\xff\x00\x00\x00\x00\x00\x01", hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"h2: SETTINGS of no length", "h2" + h2Frame(h2Settings, 0, 0, "12345"), hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"h2: SETTINGS with a window beyond 31 bits", "h2" + h2Frame(h2Settings, 0, 0, "\x00\x04\xff\xff\xff\xff"), hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"h2: 2,000 SETTINGS in one", "h2" + h2Frame(h2Settings, 0, 0, strings.Repeat("\x00\x09\x00\x00\x00\x01", 2000)) + h2Frame(h2Headers, endStream|endHeaders, 1, h2OK), "", "", ""},
	{"h2: headers that are no HPACK", "h2" + h2Frame(h2Settings, 0, 0, "") + h2Frame(h2Headers, endStream|endHeaders, 1, "\xff\xff\xff\xff\xff"), hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"h2: headers without a status", "h2" + h2Frame(h2Settings, 0, 0, "") + h2Frame(h2Headers, endStream|endHeaders, 1, "\x0f\x0d\x012"), hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"h2: data before headers", "h2" + h2Frame(h2Settings, 0, 0, "") + h2Frame(h2Data, endStream, 1, "ok"), hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"h2: a push nobody wanted", "h2" + h2Frame(h2Settings, 0, 0, "") + h2Frame(h2Push, endHeaders, 1, "\x00\x00\x00\x02"+h2OK), hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"h2: CONTINUATION alone", "h2" + h2Frame(h2Settings, 0, 0, "") + h2Frame(h2Continuation, endHeaders, 1, h2OK), hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"h2: CONTINUATION for ever", "h2" + h2Frame(h2Settings, 0, 0, "") + h2Frame(h2Headers, 0, 1, h2OK) + strings.Repeat(h2Frame(h2Continuation, 0, 1, strings.Repeat("\x00\x01x\x7f\x80\x07"+strings.Repeat("y", 1023), 15)), 100), hostwise.HTTPMalformed, hostwise.PhaseRequest, ""},
	{"h2: 100,000 empty CONTINUATIONs", "h2" + h2Frame(h2Settings, 0, 0, "") + h2Frame(h2Headers, 0, 1, h2OK) + strings.Repeat(h2Frame(h2Continuation, 0, 1, ""), 100_000), hostwise.HTTPEOF, hostwise.PhaseRequest, ""},
	{"h2: a body cut off", "h2" + h2Frame(h2Settings, 0, 0, "") + h2Frame(h2Headers, endHeaders, 1, h2OK) + h2Frame(h2Data, 0, 1, "ok"), hostwise.HTTPEOF, hostwise.PhaseBody, "ok"},
}

func TestMalformed(t *testing.T) {
	_, cert := certificate(t)
	for _, tt := range malformed {
		t.Run(tt.name, func(t *testing.T) {
			raw, h2 := strings.CutPrefix(tt.raw, "h2")
			inWorld(t, nil, transport.Options{}, func(w *world) {
				w.host("example.com", "192.0.2.1")
				speak := func(c net.Conn) {
					defer c.Close()
					if h2 {
						s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, NextProtos: []string{"h2"}})
						if err := s.Handshake(); err != nil {
							return
						}
						c = s
					}
					readSome(c)
					if h2 {
						go io.Copy(io.Discard, c) // else closing would reset it
						time.Sleep(ms)            // for the request, behind the preface
					}
					io.WriteString(c, raw)
					if h2 {
						time.Sleep(10 * ms)
					}
				}
				w.accept("192.0.2.1:80", speak)
				w.accept("192.0.2.1:443", speak)
				scheme := "http"
				if h2 {
					scheme = "https"
				}
				ctx, cancel := context.WithTimeout(context.Background(), 9*time.Second)
				defer cancel()
				start := time.Now()
				status, body, err := fetch(ctx, w.client, scheme+"://example.com/")
				t.Logf("%d %.20q %.100v", status, body, err)
				if took := time.Since(start); took > time.Second {
					t.Errorf("it took %v", took)
				}
				if got := hostwise.KindOf(err); err == nil && tt.kind != "" || err != nil && (got != tt.kind || hostwise.PhaseOf(err) != tt.phase) || body != tt.body {
					t.Errorf("%d, body %.40q, %v: kind %q in phase %q, want %q in %q and %q", status, body, err, got, hostwise.PhaseOf(err), tt.kind, tt.phase, tt.body)
				}
				stock := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
					return w.net.DialContext(ctx, network, strings.Replace(address, "example.com", "192.0.2.1", 1))
				}, ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxResponseHeaderBytes: 256 << 10}}
				wantStatus, wantBody, wantErr := fetch(ctx, stock, scheme+"://example.com/")
				if status != wantStatus || body != wantBody || (err == nil) != (wantErr == nil) {
					t.Errorf("%d %.20q %v, net/http %d %.20q %v", status, body, err, wantStatus, wantBody, wantErr)
				}
				stock.CloseIdleConnections()
			})
		})
	}
}

func fetch(ctx context.Context, c *http.Client, url string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, "GET", url, nil)
	if err != nil {
		return 0, "", err
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, string(b), err
}
