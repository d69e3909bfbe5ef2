package hostwisecolly

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/transport"
)

// roundTripper is the Handle as the shell sees it.
type roundTripper struct{ h *Handle }

func (rt roundTripper) RoundTrip(req *http.Request) (*http.Response, error) {
	if isRobotsTxt(req) {
		return rt.h.robotsTxt(req)
	}
	return rt.h.roundTrip(req)
}

func (h *Handle) roundTrip(req *http.Request) (*http.Response, error) {
	r := req
	if proxy := h.proxy(h.tripped(req)); proxy != nil {
		r = r.WithContext(transport.WithProxy(r.Context(), proxy))
	}
	if h.shell.DisableKeepAlives {
		if r == req {
			r = r.WithContext(r.Context())
		}
		r.Close = true
	}
	resp, err := h.transport.RoundTrip(r)
	h.count(func(s *Stats) {
		s.Requests++
		if err == nil {
			s.Responses++
		} else {
			s.Failures[hostwise.KindOf(err)]++
		}
	})
	if err != nil {
		h.tell(req, err)
		return nil, err
	}
	resp.Request = req
	resp.Body = newBody(req.Context(), resp.Body)
	return resp, nil
}

// isRobotsTxt reports whether it is Colly that wants to know what it may
// visit: the requests of a page have a context of Colly's making.
func isRobotsTxt(req *http.Request) bool {
	return req.Context().Value(colly.CheckRevisitKey) == nil && req.Method == http.MethodGet && req.Response == nil && req.URL.Path == "/robots.txt"
}

// dial is the shell's way to connect, by which Attach knows a shell. Only
// requests for a WebSocket over https come here, which net/http does not hand
// to a registered protocol: the Transport could neither guard nor bound them.
func (h *Handle) dial(context.Context, string, string) (net.Conn, error) { return nil, errWebSocket }

var errWebSocket = errors.New("hostwisecolly: a collector cannot ask for a WebSocket over https; use an http.Client with the Transport")

// proxy returns how a round trip chooses its proxy, which also tells page, if
// there is one: Colly has the name from the context of its own request, but an
// http.Client with a time-out works on a copy. It is nil where the Transport
// may do so itself.
func (h *Handle) proxy(page *colly.Request) func(*http.Request) (*url.URL, error) {
	choose := h.shell.Proxy
	if page == nil {
		return choose
	}
	if choose == nil {
		choose = h.transport.Proxy
	}
	return func(r *http.Request) (*url.URL, error) {
		u, err := choose(r)
		if u != nil {
			page.ProxyURL = u.String()
		}
		return u, err
	}
}

// isDirect reports whether a request for u would go to its host, not to a
// proxy, which resolves names itself and has its own account of the host. A
// switcher given to Colly is not asked.
func (h *Handle) isDirect(u *url.URL) bool {
	if h.shell.Proxy != nil {
		return false
	}
	proxy, err := h.transport.Proxy(&http.Request{Method: http.MethodGet, URL: u, Host: u.Host, Header: http.Header{}})
	return proxy == nil && err == nil
}
