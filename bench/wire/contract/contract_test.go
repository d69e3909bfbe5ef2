package contract

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func getenv(environ []string) func(string) string {
	return func(name string) string {
		for _, e := range environ {
			if value, ok := strings.CutPrefix(e, name+"="); ok {
				return value
			}
		}
		return ""
	}
}

func TestSettings_SurviveTheEnvironment(t *testing.T) {
	for _, want := range []*Settings{
		{Timeout: 1500 * time.Millisecond, Gap: 50 * time.Millisecond, Concurrency: 8, Nameservers: []string{"192.0.2.1:53", "[2001:db8::1]:53"}, DNS: "192.0.2.1:53", DNS6: "[2001:db8::1]:53", Insecure: true},
		{Timeout: time.Minute, Concurrency: 1, Nameservers: []string{"192.0.2.1:53"}},
	} {
		got, err := readSettings(getenv(want.Environ()))
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("got %+v %v, want %+v", got, err, want)
		}
	}
}

func TestSettings_OfAnEmptyEnvironment(t *testing.T) {
	got, err := readSettings(getenv(nil))
	if want := (&Settings{Timeout: 15 * time.Second, Concurrency: 1}); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v %v, want %+v", got, err, want)
	}
	got, err = readSettings(getenv([]string{"WIRE_DNS6=[2001:db8::1]:53"}))
	if err != nil || !reflect.DeepEqual(got.Nameservers, []string{"[2001:db8::1]:53"}) {
		t.Errorf("got %v %v, want the one nameserver", got.Nameservers, err)
	}
	if _, err = readSettings(getenv([]string{"WIRE_GAP_MS=soon"})); err == nil {
		t.Error("a gap of \"soon\" was taken")
	}
}

func TestOutcome_SurvivesItsLine(t *testing.T) {
	for _, tt := range []struct {
		line string
		want Outcome
	}{
		{"OK 12.5 200 198.18.0.1", Outcome{OK: true, MS: 12.5, Status: 200, Text: "198.18.0.1"}},
		{"ERR dns-timeout 4000.0 lookup a.test: i/o timeout", Outcome{Class: "dns-timeout", MS: 4000, Text: "lookup a.test: i/o timeout"}},
	} {
		got, ok := ParseOutcome(tt.line)
		if !ok || got != tt.want {
			t.Errorf("%q: got %+v %v, want %+v", tt.line, got, ok, tt.want)
		}
		if got.String() != tt.line {
			t.Errorf("got %q, want %q", got, tt.line)
		}
	}
	for _, line := range []string{"", "OK", "ERR", "ERR connect", "connected to a.test", "OKAY 1 200"} {
		if got, ok := ParseOutcome(line); ok {
			t.Errorf("%q: got %+v", line, got)
		}
	}
	if got := (Outcome{Class: "other", Text: "two\nlines"}).String(); strings.Contains(got, "\n") {
		t.Errorf("more than one line: %q", got)
	}
}

func FuzzParseOutcome(f *testing.F) {
	f.Add("OK 1 200 x")
	f.Add("ERR  a 1")
	f.Fuzz(func(_ *testing.T, line string) { ParseOutcome(line) })
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRun_KeepsToConcurrencyGapAndOrder(t *testing.T) {
	for _, tt := range []struct {
		environ []string
		want    time.Duration
	}{
		{nil, 4 * time.Second},
		{[]string{"WIRE_GAP_MS=500"}, 5500 * time.Millisecond},
		{[]string{"WIRE_CONCURRENCY=4"}, time.Second},
		{[]string{"WIRE_TIMEOUT=0.25"}, time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			closed := false
			var out bytes.Buffer
			start := time.Now()
			err := run([]string{"http://a.test", "http://b.test", "http://c.test", "http://d.test"}, getenv(tt.environ), &out, func(*Settings) (*Client, error) {
				return &Client{
					Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
						select {
						case <-time.After(time.Second):
						case <-r.Context().Done():
							return nil, r.Context().Err()
						}
						w := httptest.NewRecorder()
						w.Header().Set(AddressHeader, "192.0.2.1")
						return w.Result(), nil
					}),
					Class: func(err error) string {
						if errors.Is(err, os.ErrDeadlineExceeded) || strings.Contains(err.Error(), "deadline exceeded") {
							return "timeout"
						}
						return "other"
					},
					Close: func() { closed = true },
				}, nil
			})
			if got := time.Since(start); err != nil || got != tt.want {
				t.Errorf("%v: took %v, want %v; error %v", tt.environ, got, tt.want, err)
			}
			want := strings.Repeat("OK 1000.0 200 192.0.2.1\n", 4)
			if len(tt.environ) > 0 && strings.Contains(tt.environ[0], "TIMEOUT") {
				want = ""
				if n := strings.Count(out.String(), "ERR timeout 250.0 "); n != 4 {
					t.Errorf("%v: got %q", tt.environ, out.String())
				}
			}
			if want != "" && out.String() != want {
				t.Errorf("%v: got %q, want %q", tt.environ, out.String(), want)
			}
			if !closed {
				t.Errorf("%v: not closed", tt.environ)
			}
		})
	}
}
