package transport

//lint:file-ignore SA1019 a base transport may have Dial set

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"math"
	"net"
	"net/http"
	"reflect"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/internal/simnet"
)

func TestWantsHTTP2_DecidesAsNetHTTPWould(t *testing.T) {
	dial := (&net.Dialer{}).DialContext
	for _, tt := range []struct {
		name string
		base *http.Transport
		want bool
	}{
		{"the zero value", &http.Transport{}, true},
		{"DefaultTransport", http.DefaultTransport.(*http.Transport).Clone(), true},
		{"a dial function of its own", &http.Transport{DialContext: dial}, false},
		{"the old dial function", &http.Transport{Dial: func(network, addr string) (net.Conn, error) { return nil, nil }}, false},
		{"a TLS configuration of its own", &http.Transport{TLSClientConfig: &tls.Config{}}, false},
		{"with h2 in it", &http.Transport{TLSClientConfig: &tls.Config{NextProtos: []string{"http/1.1", "h2"}}}, true},
		{"forced", &http.Transport{ForceAttemptHTTP2: true, DialContext: dial, TLSClientConfig: &tls.Config{}}, true},
		{"switched off", &http.Transport{TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}, false},
	} {
		if got := wantsHTTP2(tt.base); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestBaseDial_KeepsTheUsersOwn(t *testing.T) {
	marker := errors.New("marker")
	fails := func(dial dialFunc) bool {
		if dial == nil {
			return false
		}
		_, err := dial(context.Background(), "tcp", "127.0.0.1:1")
		return errors.Is(err, marker)
	}
	own := (&net.Dialer{Control: func(string, string, syscall.RawConn) error { return marker }}).DialContext
	clone := http.DefaultTransport.(*http.Transport).Clone()
	clone.DialContext = own
	for _, tt := range []struct {
		name string
		base *http.Transport
		want bool
	}{
		{"none", &http.Transport{}, false},
		{"a net.Dialer", &http.Transport{DialContext: own}, true},
		{"a net.Dialer in a clone of DefaultTransport", clone, true},
		{"the old Dial", &http.Transport{Dial: func(network, addr string) (net.Conn, error) { return nil, marker }}, true},
		{"both: DialContext takes priority", &http.Transport{DialContext: own, Dial: func(network, addr string) (net.Conn, error) { return nil, io.EOF }}, true},
	} {
		if got := fails(baseDial(tt.base)); got != tt.want {
			t.Errorf("%s: the user's function is called: %v, want %v", tt.name, got, tt.want)
		}
	}
	if baseDial(&http.Transport{}) != nil {
		t.Error("a transport without a dial function has one")
	}
}

func TestUsesRoutes(t *testing.T) {
	for _, tt := range []struct {
		name string
		dial dialFunc
		want bool
	}{
		{"DefaultTransport's", http.DefaultTransport.(*http.Transport).Clone().DialContext, true},
		{"a net.Dialer's", (&net.Dialer{Timeout: time.Second}).DialContext, true},
		{"a function around one", func(ctx context.Context, network, address string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}, false},
		{"another method", simnet.New(1).DialContext, false},
	} {
		if got := usesRoutes(tt.dial); got != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestOptions_Defaults(t *testing.T) {
	decided := &http.Transport{
		TLSHandshakeTimeout: 1, ResponseHeaderTimeout: 2, MaxConnsPerHost: 3, MaxResponseHeaderBytes: 4,
		HTTP2: &http.HTTP2Config{SendPingTimeout: 5, PingTimeout: 6},
	}
	all := Options{
		ResolutionDelay: 11, DialTimeout: 12, TLSHandshakeTimeout: 13, ResponseHeaderTimeout: 14, MaxResponseHeaderBytes: 15, IdleBodyTimeout: 16, MinBodyRate: 17,
		MaxBodyBytes: 18, SendPingTimeout: 19, PingTimeout: 20, MaxConns: 21, MaxConnsPerHost: 22, MaxDialsPerRequest: 23, MaxFiles: 240,
		Breaker: BreakerOptions{Failures: 5, FirstFailures: 3, Cooldown: 30 * time.Second, MaxCooldown: time.Hour},
	}
	for _, tt := range []struct {
		name    string
		base    *http.Transport
		options *Options
		want    Options
	}{
		{"nil", &http.Transport{}, nil, Options{
			ResolutionDelay: 50 * time.Millisecond, DialTimeout: 10 * time.Second, TLSHandshakeTimeout: 5 * time.Second, ResponseHeaderTimeout: 15 * time.Second,
			MaxResponseHeaderBytes: 256 << 10, IdleBodyTimeout: 30 * time.Second, MinBodyRate: 16, SendPingTimeout: 10 * time.Second, PingTimeout: 5 * time.Second,
			MaxConns: 200, MaxConnsPerHost: 8, MaxDialsPerRequest: 3,
		}},
		{"the base decides", decided, &Options{}, Options{
			ResolutionDelay: 50 * time.Millisecond, DialTimeout: 10 * time.Second, TLSHandshakeTimeout: 1, ResponseHeaderTimeout: 2,
			MaxResponseHeaderBytes: 4, IdleBodyTimeout: 30 * time.Second, MinBodyRate: 16, SendPingTimeout: 5, PingTimeout: 6,
			MaxConns: 200, MaxConnsPerHost: 3, MaxDialsPerRequest: 3,
		}},
		{"the options decide", decided, &all, all},
		{"negative is none", decided, &Options{
			ResolutionDelay: -1, ResponseHeaderTimeout: -1, IdleBodyTimeout: -1, MinBodyRate: -1, SendPingTimeout: -1, MaxConns: -1, MaxConnsPerHost: -1, MaxDialsPerRequest: -1, MaxFiles: -1,
		}, Options{ResolutionDelay: -1, DialTimeout: 10 * time.Second, TLSHandshakeTimeout: 1, MaxResponseHeaderBytes: 4, PingTimeout: 6}},
		{"no bound on idleness", decided, &Options{IdleBodyTimeout: -1, SendPingTimeout: -1, MaxConns: -1, MaxFiles: -1}, Options{
			ResolutionDelay: 50 * time.Millisecond, DialTimeout: 10 * time.Second, TLSHandshakeTimeout: 1, ResponseHeaderTimeout: 2,
			MaxResponseHeaderBytes: 4, PingTimeout: 6, MaxConnsPerHost: 3, MaxDialsPerRequest: 3,
		}},
	} {
		if tt.options == nil || tt.options.MaxFiles == 0 {
			tt.want.MaxFiles = halfOfFiles()
		}
		tt.want.Breaker = BreakerOptions{Failures: 5, FirstFailures: 3, Cooldown: 30 * time.Second, MaxCooldown: time.Hour}
		got, err := tt.options.withDefaults(tt.base)
		if err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
	for _, o := range []*Options{
		{DialTimeout: -1}, {TLSHandshakeTimeout: -1}, {ConnectionAttemptDelay: 9 * time.Millisecond}, {ConnectionAttemptDelay: -1},
		{MaxFiles: 1}, {Prefer: "tcp6"}, {DisableIPv6: true, DisableIPv4: true},
		{MaxResponseHeaderBytes: -1}, {MaxBodyBytes: -1}, {PingTimeout: -1},
	} {
		o.Resolver = names{}
		if _, err := New(nil, o); err == nil || !strings.HasPrefix(err.Error(), "transport: Options.") {
			t.Errorf("%+v: %v, want an error that names the option", o, err)
		}
	}
}

// A quarter of MaxFiles, and one at least, is for second attempts.
func TestOptions_MaxFilesBoundsMaxConns(t *testing.T) {
	for _, tt := range []struct{ files, conns, wantConns, wantSpares int }{
		{-1, -1, 0, math.MaxInt},
		{-1, 0, 200, math.MaxInt},
		{2, 0, 1, 1},
		{3, 0, 2, 1},
		{8, 0, 6, 2},
		{8, 5, 5, 3},
		{8, 100, 6, 2},
		{8, -1, 6, 2},
		{128, 0, 96, 32},
		{1000, 0, 200, 800},
	} {
		o, err := (&Options{MaxFiles: tt.files, MaxConns: tt.conns}).withDefaults(&http.Transport{})
		if err != nil || o.MaxConns != tt.wantConns || o.spares() != tt.wantSpares {
			t.Errorf("MaxFiles %d, MaxConns %d: %d connections, %d spare files, %v, want %d and %d", tt.files, tt.conns, o.MaxConns, o.spares(), err, tt.wantConns, tt.wantSpares)
		}
	}
}

func TestBreakerOptions_Defaults(t *testing.T) {
	for _, tt := range []struct {
		name    string
		options BreakerOptions
		want    BreakerOptions // the first four fields
	}{
		{"few failures", BreakerOptions{Failures: 2}, BreakerOptions{Failures: 2, FirstFailures: 2, Cooldown: 30 * time.Second, MaxCooldown: time.Hour}},
		{"more at first", BreakerOptions{Failures: 2, FirstFailures: 7}, BreakerOptions{Failures: 2, FirstFailures: 7, Cooldown: 30 * time.Second, MaxCooldown: time.Hour}},
		{"never down", BreakerOptions{Failures: -1, FirstFailures: -1}, BreakerOptions{Failures: -1, FirstFailures: -1, Cooldown: 30 * time.Second, MaxCooldown: time.Hour}},
		{"down at first only", BreakerOptions{Failures: -1}, BreakerOptions{Failures: -1, FirstFailures: 3, Cooldown: 30 * time.Second, MaxCooldown: time.Hour}},
		{"no doubling", BreakerOptions{Cooldown: time.Minute, MaxCooldown: -1}, BreakerOptions{Failures: 5, FirstFailures: 3, Cooldown: time.Minute, MaxCooldown: time.Minute}},
		{"a long cool-down", BreakerOptions{Cooldown: 2 * time.Hour}, BreakerOptions{Failures: 5, FirstFailures: 3, Cooldown: 2 * time.Hour, MaxCooldown: 2 * time.Hour}},
	} {
		got := tt.options
		if err := got.setDefaults(); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
	for _, o := range []BreakerOptions{
		{Failures: 1001}, {FirstFailures: 1001}, {Cooldown: -1}, {MaxCooldown: time.Second}, {Cooldown: time.Hour, MaxCooldown: time.Minute},
		{TripOn: []int{503, 0}}, {TripOn: []int{103}}, {TripOn: []int{1000}},
	} {
		if _, err := New(nil, &Options{Resolver: names{}, Breaker: o}); err == nil || !strings.Contains(err.Error(), "Options.Breaker") {
			t.Errorf("%+v: %v, want an error that names the option", o, err)
		}
	}
	mine := []int{503}
	o := BreakerOptions{TripOn: mine}
	if err := o.setDefaults(); err != nil {
		t.Fatal(err)
	}
	if mine[0] = 404; o.TripOn[0] != 503 {
		t.Error("TripOn is the caller's own slice")
	}
}

func TestInnerTransport_BoundsWhatNetHTTPLeavesOpen(t *testing.T) {
	for _, tt := range []struct {
		name string
		base *http.Transport
		want *http.Transport
	}{
		{"nothing set", &http.Transport{}, &http.Transport{MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 256 << 10}},
		{"what is set stays", &http.Transport{MaxIdleConns: 9, MaxIdleConnsPerHost: 3, IdleConnTimeout: time.Second, MaxResponseHeaderBytes: 10, HTTP2: &http.HTTP2Config{WriteByteTimeout: 7}},
			&http.Transport{MaxIdleConns: 9, MaxIdleConnsPerHost: 3, IdleConnTimeout: time.Second, MaxResponseHeaderBytes: 10}},
		{"but no more idle connections than there may be", &http.Transport{MaxIdleConns: 250}, &http.Transport{MaxIdleConns: 200, MaxIdleConnsPerHost: 8, IdleConnTimeout: 30 * time.Second, MaxResponseHeaderBytes: 256 << 10}},
	} {
		o, err := (*Options)(nil).withDefaults(tt.base)
		if err != nil {
			t.Fatal(err)
		}
		idle := tt.base.MaxIdleConns
		got, err := innerTransport(tt.base, &o)
		if err != nil {
			t.Fatal(err)
		}
		if got.MaxIdleConns != tt.want.MaxIdleConns || got.MaxIdleConnsPerHost != tt.want.MaxIdleConnsPerHost || got.IdleConnTimeout != tt.want.IdleConnTimeout || got.MaxResponseHeaderBytes != tt.want.MaxResponseHeaderBytes {
			t.Errorf("%s: %d idle, %d a host, for %v, %d header bytes", tt.name, got.MaxIdleConns, got.MaxIdleConnsPerHost, got.IdleConnTimeout, got.MaxResponseHeaderBytes)
		}
		write := 15 * time.Second
		if tt.base.HTTP2 != nil {
			write = tt.base.HTTP2.WriteByteTimeout
		}
		if h := got.HTTP2; h.SendPingTimeout != o.SendPingTimeout || h.PingTimeout != o.PingTimeout || h.WriteByteTimeout != write {
			t.Errorf("%s: HTTP/2 %+v", tt.name, h)
		}
		if got == tt.base || tt.base.MaxIdleConns != idle || tt.base.DialContext != nil {
			t.Errorf("%s: the base was changed", tt.name)
		}
	}
}
