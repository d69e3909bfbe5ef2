package clients

import (
	"time"

	"github.com/gocolly/colly/v2"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/bench/lab/crawl"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/transport"
)

// hostwiseClient is this module's transport below an http.Client.
func hostwiseClient(c crawl.Config) (crawl.Client, error) {
	t, stop, err := hostwiseTransport(c)
	if err != nil {
		return nil, err
	}
	return crawl.HTTP(t, c, classifyHostwise, stop), nil
}

// hostwiseColly is this module's transport below a Colly collector.
func hostwiseColly(c crawl.Config) (crawl.Client, error) {
	t, stop, err := hostwiseTransport(c)
	if err != nil {
		return nil, err
	}
	x := newCollector(c, classifyHostwise, stop)
	if _, err := hostwisecolly.Attach(x.colly, t); err != nil {
		stop()
		return nil, err
	}
	x.timeWithCallbacks()
	return x, nil
}

// hostwiseTransport has the library's defaults but for the number of
// connections: what a crawl uses at a time is the lab's to say, and the other
// clients have no bound either.
func hostwiseTransport(c crawl.Config) (t *transport.Transport, stop func(), err error) {
	r, err := dnscache.New(&dnscache.Options{Servers: c.Nameservers})
	if err != nil {
		return nil, nil, err
	}
	t, err = transport.New(c.BaseTransport(), &transport.Options{
		Resolver:        r,
		MaxConns:        -1,
		MaxConnsPerHost: c.PerHost,
	})
	if err != nil {
		_ = r.Close()
		return nil, nil, err
	}
	return t, func() {
		_ = t.Close()
		_ = r.Close()
	}, nil
}

// timeWithCallbacks takes the time between the callbacks that Colly calls
// right before and right after http.Client.Do, since hostwisecolly.Attach puts
// its own transport into the collector. This is the time that crawl.HTTP takes
// around Do; newTimedCollector takes that of RoundTrip, which is some
// microseconds less.
func (x *collector) timeWithCallbacks() {
	const start = "lab.start"
	x.colly.OnRequestHeaders(func(r *colly.Request) { r.Ctx.Put(start, time.Now()) })
	x.colly.OnResponseHeaders(func(r *colly.Response) {
		ttfb := time.Since(r.Ctx.GetAny(start).(time.Time))
		x.headers.Store(r.Request.URL.String(), responseHeaders{ttfb, r.StatusCode})
	})
}

// labKinds are the kinds that the lab asks for. The rest is crawl.Other.
var labKinds = map[hostwise.Kind]crawl.Kind{
	hostwise.DNSNXDomain:          crawl.NXDomain,
	hostwise.DNSNoData:            crawl.NXDomain,
	hostwise.DNSServFail:          crawl.ServFail,
	hostwise.DNSTimeout:           crawl.DNSTimeout,
	hostwise.DNSRefused:           crawl.DNSOther,
	hostwise.DNSFormErr:           crawl.DNSOther,
	hostwise.DNSLame:              crawl.DNSOther,
	hostwise.DNSBogus:             crawl.DNSOther,
	hostwise.DNSBlocked:           crawl.DNSOther,
	hostwise.DNSServerUnreachable: crawl.DNSOther,
	hostwise.DNSTruncated:         crawl.DNSOther,
	hostwise.DNSMalformed:         crawl.DNSOther,
	hostwise.DNSCNAMELoop:         crawl.DNSOther,
	hostwise.DNSBadName:           crawl.DNSOther,
	hostwise.ConnectRefused:       crawl.Refused,
	hostwise.ConnectTimeout:       crawl.ConnectTimeout,
	hostwise.ConnectUnreachable:   crawl.Unreachable,
	hostwise.HTTPHeaderTimeout:    crawl.HTTPTimeout,
	hostwise.HTTPWriteTimeout:     crawl.HTTPTimeout,
	hostwise.HTTPBodyTimeout:      crawl.HTTPTimeout,
	hostwise.HostDown:             crawl.CircuitOpen,
	hostwise.HostPaused:           crawl.CircuitOpen,
	hostwise.TLSTimeout:           crawl.Timeout,
	hostwise.Deadline:             crawl.Timeout,
}

func classifyHostwise(err error) crawl.Kind {
	if err == nil {
		return crawl.OK
	}
	if k, ok := labKinds[hostwise.KindOf(err)]; ok {
		return k
	}
	return crawl.Other
}
