package hostwise_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"github.com/hostwise-go/hostwise"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// The host is connected to, and the answer is none, or only half of one.
var httpScenarios = []scenario{
	{"closed without an answer", answers("", ""), requestError, hostwise.HTTPEOF, request, false, is(io.EOF), host},
	{"closed in the middle of the headers", answers("", "HTTP/1.1 200 OK\r\nServer: x\r\n"), requestError, hostwise.HTTPEOF, request, false, is(io.ErrUnexpectedEOF), host},
	{"reset without an answer", resetsAfter(""), requestError, hostwise.HTTPReset, request, false, is(syscall.ECONNRESET), host},
	{"no answer", silentAfter(""), requestError, hostwise.HTTPHeaderTimeout, request, true, is(context.DeadlineExceeded), host},
	{"silence in the middle of the headers", silentAfter("HTTP/1.1 200 OK\r\nContent-Le"), requestError, hostwise.HTTPHeaderTimeout, request, true, is(context.DeadlineExceeded), host},
	{"nothing but 103 Early Hints", silentAfter("HTTP/1.1 103 Early Hints\r\n\r\n"), requestError, hostwise.HTTPHeaderTimeout, request, true, is(context.DeadlineExceeded), host},
	{"no HTTP", answers("", "SSH-2.0-OpenSSH_9.6\r\n"), requestError, hostwise.HTTPMalformed, request, false, anything, host},
	{"a status that is no number", answers("", "HTTP/1.1 OK\r\n\r\n"), requestError, hostwise.HTTPMalformed, request, false, anything, host},
	{"a header without a colon", answers("", "HTTP/1.1 200 OK\r\nServer\r\n\r\n"), requestError, hostwise.HTTPMalformed, request, false, anything, host},
	{"two lengths", answers("", "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n"), requestError, hostwise.HTTPMalformed, request, false, anything, host},
	{"a length that is no number", answers("", "HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"), requestError, hostwise.HTTPMalformed, request, false, anything, host},
	{"a transfer encoding that nobody knows", answers("", "HTTP/1.1 200 OK\r\nTransfer-Encoding: soup\r\n\r\n"), requestError, hostwise.HTTPMalformed, request, false, anything, host},
	{"a TLS server", plainToTLS, requestError, hostwise.HTTPMalformed, request, false, anything, host},
	{"headers without end", answers("", "HTTP/1.1 200 OK\r\n"+strings.Repeat("X: "+strings.Repeat("x", 1000)+"\r\n", 300)), requestError, hostwise.HTTPHeaderTooLarge, request, false, anything, host},
	{"closed after 100 Continue", answers("", "HTTP/1.1 100 Continue\r\n\r\n"), requestError, hostwise.HTTPEOF, request, false, is(io.ErrUnexpectedEOF), host},
	{"a client's certificate is wanted, TLS 1.3", wantsCertificate, tlsError, hostwise.TLSAlert, inTLS, false, anything, host},
	{"the request's body is not taken", takesNothing, requestError, hostwise.HTTPWriteTimeout, request, true, is(context.DeadlineExceeded), host},
	{"the request's body fails", ownFault, requestError, hostwise.Other, request, false, is(errOwnFault), nobody},

	{"HTTP/2: closed without an answer", overHTTP2(func(l *lab, f *http2.Framer, c net.Conn, id uint32) { c.Close() }), requestError, hostwise.HTTPEOF, request, false, anything, host},
	{"HTTP/2: no answer", silentHTTP2, requestError, hostwise.HTTPHeaderTimeout, request, true, is(context.DeadlineExceeded), host},
	{"HTTP/2: GOAWAY instead of an answer", overHTTP2(goAwayWith(http2.ErrCodeInternal)), requestError, hostwise.H2GoAway, request, false, anything, host},
	{"HTTP/2: GOAWAY on each connection", overHTTP2(func(_ *lab, f *http2.Framer, _ net.Conn, _ uint32) { f.WriteGoAway(0, http2.ErrCodeNo, nil) }), requestError, hostwise.TooManyDials, request, false, anything, host},
	{"HTTP/2: the stream is refused", post(overHTTP2(resetWith(http2.ErrCodeRefusedStream))), requestError, hostwise.H2RefusedStream, request, false, anything, host},
	{"HTTP/2: the stream is reset", overHTTP2(resetWith(http2.ErrCodeInternal)), requestError, hostwise.HTTPReset, request, false, anything, host},
	{"HTTP/2: a protocol error", overHTTP2(func(_ *lab, f *http2.Framer, _ net.Conn, _ uint32) { f.WriteData(0, true, nil) }), requestError, hostwise.HTTPMalformed, request, false, anything, host},
	{"HTTP/2: headers without end", overHTTP2(headers(260)), requestError, hostwise.HTTPMalformed, request, false, anything, host},
	{"HTTP/2: more headers than allowed", fewHeaders(overHTTP2(headers(5))), requestError, hostwise.HTTPHeaderTooLarge, request, false, anything, host},

	{"body: closed before its end", answers("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "half"), requestError, hostwise.HTTPEOF, inBody, false, is(io.ErrUnexpectedEOF), nobody},
	{"body: closed between two chunks", answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "4\r\nhalf\r\n"), requestError, hostwise.HTTPEOF, inBody, false, is(io.ErrUnexpectedEOF), nobody},
	{"body: a chunk without a length", answers("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "soup\r\n"), requestError, hostwise.HTTPMalformed, inBody, false, anything, nobody},
	{"body: no gzip", answers("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 12\r\n\r\n", "nothing zips"), requestError, hostwise.HTTPMalformed, inBody, false, is(gzip.ErrHeader), nobody},
	{"body: reset", resetsAfter("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), requestError, hostwise.HTTPReset, inBody, false, is(syscall.ECONNRESET), nobody},
	{"body: silence", silentAfter("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), requestError, hostwise.HTTPBodyTimeout, inBody, true, is(context.DeadlineExceeded), nobody},
	{"body: more than allowed", fewBytes(answers("HTTP/1.1 200 OK\r\n\r\n", "half")), requestError, hostwise.HTTPBodyTooLarge, inBody, false, anything, nobody},
	{"HTTP/2 body: the stream is reset", overHTTP2Body(bodyThen(resetWith(http2.ErrCodeInternal))), requestError, hostwise.HTTPReset, inBody, false, anything, nobody},
	{"HTTP/2 body: closed", overHTTP2Body(bodyThen(func(_ *lab, _ *http2.Framer, c net.Conn, _ uint32) { c.Close() })), requestError, hostwise.HTTPEOF, inBody, false, is(io.ErrUnexpectedEOF), nobody},
}

func httpURL(port string) string { return "http://" + net.JoinHostPort(hostName, port) }

// answers reads a request, writes head, and then fails with rest and a closed
// connection.
func answers(head, rest string) fixture {
	return func(l *lab) string {
		return httpURL(l.serve(func(c net.Conn) {
			if !readRequest(c) {
				return
			}
			fmt.Fprint(c, head)
			l.ready()
			fmt.Fprint(c, rest)
			c.(*net.TCPConn).CloseWrite()
			io.Copy(io.Discard, c)
		}))
	}
}

func resetsAfter(head string) fixture {
	return func(l *lab) string {
		return httpURL(l.serve(func(c net.Conn) {
			if !readRequest(c) {
				return
			}
			fmt.Fprint(c, head)
			if head != "" {
				time.Sleep(50 * time.Millisecond) // a reset overtakes what was sent
			}
			l.ready()
			reset(c)
		}))
	}
}

func silentAfter(head string) fixture {
	return func(l *lab) string {
		l.silent = true
		return httpURL(l.serve(func(c net.Conn) {
			if readRequest(c) {
				fmt.Fprint(c, head)
				l.hang()
			}
		}))
	}
}

func plainToTLS(l *lab) string {
	return httpURL(l.serve(func(raw net.Conn) {
		readSome(raw)
		l.ready()
		fmt.Fprint(raw, "\x15\x03\x01\x00\x02\x02\x46") // what crypto/tls says
	}))
}

// wantsCertificate can say so only when the client thinks that the handshake
// is over: RFC 8446, section 4.4.
func wantsCertificate(l *lab) string {
	c := &tls.Config{Certificates: []tls.Certificate{authority().issue(nil)}, ClientAuth: tls.RequireAnyClientCert}
	return httpsURL(l.serveTLS(c, nil))
}

// takesNothing has a socket's buffers filled up by a request.
func takesNothing(l *lab) string {
	l.silent = true
	l.body = func() io.Reader { return bytes.NewReader(make([]byte, 32<<20)) }
	return httpURL(l.serve(func(net.Conn) { l.hang() }))
}

func fewBytes(f fixture) fixture {
	return func(l *lab) string {
		l.opt.MaxBodyBytes = 3
		return f(l)
	}
}

var errOwnFault = errors.New("the file has gone")

// ownFault is a request whose own body cannot be read.
func ownFault(l *lab) string {
	l.body = func() io.Reader {
		return io.MultiReader(strings.NewReader("half"), readerFunc(func([]byte) (int, error) {
			l.ready()
			return 0, errOwnFault
		}))
	}
	return httpURL(l.serve(func(c net.Conn) { io.Copy(io.Discard, c) }))
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// post makes the request one that cannot be sent again.
func post(f fixture) fixture {
	return func(l *lab) string {
		l.body = func() io.Reader { return io.MultiReader(strings.NewReader("once")) }
		return f(l)
	}
}

// An h2Failure is what a server does with a stream.
type h2Failure func(l *lab, f *http2.Framer, c net.Conn, id uint32)

// overHTTP2 fails each request that comes.
func overHTTP2(fail h2Failure) fixture {
	return overHTTP2Body(func(l *lab, f *http2.Framer, c net.Conn, id uint32) {
		l.ready()
		fail(l, f, c, id)
	})
}

// overHTTP2Body is overHTTP2 for failures that answer first.
func overHTTP2Body(fail h2Failure) fixture {
	return func(l *lab) string {
		config := &tls.Config{Certificates: []tls.Certificate{authority().issue(nil)}, NextProtos: []string{"h2"}}
		return httpsURL(l.serveTLS(config, func(c *tls.Conn) {
			if _, err := io.ReadFull(c, make([]byte, len(http2.ClientPreface))); err != nil {
				return
			}
			f := http2.NewFramer(c, c)
			f.AllowIllegalWrites = true
			f.WriteSettings()
			for {
				frame, err := f.ReadFrame()
				if err != nil {
					return
				}
				if h := frame.Header(); h.Type == http2.FrameHeaders && h.Flags.Has(http2.FlagHeadersEndStream) || h.Type == http2.FrameData && h.StreamID > 0 {
					fail(l, f, c, h.StreamID)
				}
			}
		}))
	}
}

func silentHTTP2(l *lab) string {
	l.silent = true
	return overHTTP2(func(l *lab, _ *http2.Framer, _ net.Conn, _ uint32) { l.hang() })(l)
}

func goAwayWith(code http2.ErrCode) h2Failure {
	return func(_ *lab, f *http2.Framer, c net.Conn, id uint32) {
		f.WriteGoAway(id, code, nil)
		c.Close()
	}
}

func resetWith(code http2.ErrCode) h2Failure {
	return func(_ *lab, f *http2.Framer, _ net.Conn, id uint32) { f.WriteRSTStream(id, code) }
}

// respond writes response headers.
func respond(f *http2.Framer, id uint32, fields ...hpack.HeaderField) {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	e.WriteField(hpack.HeaderField{Name: ":status", Value: "200"})
	for _, h := range fields {
		e.WriteField(h)
	}
	const most = 16 << 10 // RFC 9113, section 4.2
	first := b.Next(most)
	f.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndHeaders: b.Len() == 0})
	for b.Len() > 0 {
		part := b.Next(most)
		f.WriteContinuation(id, b.Len() == 0, part)
	}
}

// headers answers with so many of 1 KB.
func headers(n int) h2Failure {
	return func(_ *lab, f *http2.Framer, _ net.Conn, id uint32) {
		var fields []hpack.HeaderField
		for i := range n {
			fields = append(fields, hpack.HeaderField{Name: fmt.Sprint("x-", i), Value: strings.Repeat("x", 1000), Sensitive: true})
		}
		respond(f, id, fields...)
	}
}

func fewHeaders(f fixture) fixture {
	return func(l *lab) string {
		l.base.MaxResponseHeaderBytes = 4 << 10
		return f(l)
	}
}

// bodyThen sends headers and half a body before it fails.
func bodyThen(fail h2Failure) h2Failure {
	return func(l *lab, f *http2.Framer, c net.Conn, id uint32) {
		respond(f, id)
		f.WriteData(id, false, []byte("half"))
		l.ready()
		fail(l, f, c, id)
	}
}
