package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/internal/loopnet"
)

// small is a crawl of one host of each fate, and a few more healthy ones.
func small(t *testing.T, args ...string) (*world, []*result) {
	t.Helper()
	cfg, err := parse(append([]string{"-hosts", "30", "-timeout", "4s"}, args...))
	if err != nil {
		t.Fatal(err)
	}
	results, w, err := compare(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range results {
		if got, want := r.fetched+r.failed, len(w.start); got != want {
			t.Errorf("%s: %d pages fetched and %d failed, want %d together", r.client, r.fetched, r.failed, want)
		}
		if r.unasked != 0 {
			t.Errorf("%s: %d pages not asked for", r.client, r.unasked)
		}
	}
	return w, results
}

func TestCrawl_HostwiseLosesNoHealthyPage(t *testing.T) {
	t.Parallel()
	w, results := small(t, "-only", "hostwise")
	r := results[0]
	if r.lost != 0 {
		t.Errorf("%d pages of healthy hosts lost: %v", r.lost, r.kinds)
	}
	if want := healthyPages(w); r.fetched != want {
		t.Errorf("%d pages fetched, want the %d of the healthy hosts", r.fetched, want)
	}
	// Whatever else is said of a host, one failure at least names its fault.
	for fate, want := range map[loopnet.Fate]hostwise.Kind{
		loopnet.NXDomain:  hostwise.DNSNXDomain,
		loopnet.NoData:    hostwise.DNSNoData,
		loopnet.ServFail:  hostwise.DNSServFail,
		loopnet.DNSSilent: hostwise.DNSTimeout,
		loopnet.Refused:   hostwise.ConnectRefused,
		loopnet.BlackHole: hostwise.ConnectTimeout,
		loopnet.Mute:      hostwise.HTTPHeaderTimeout,
		loopnet.Closed:    hostwise.HTTPEOF,
		loopnet.NotTLS:    hostwise.TLSNotTLS,
		loopnet.Expired:   hostwise.TLSExpired,
	} {
		if w.hosts[fate] > 0 && r.kinds[string(fate)][string(want)] == 0 {
			t.Errorf("%s: %v, want %s among them", fate, r.kinds[string(fate)], want)
		}
	}
}

func TestCrawl_Stock(t *testing.T) {
	t.Parallel()
	w, results := small(t, "-only", "stock")
	r := results[0]
	if got, want := r.fetched+r.lost, healthyPages(w); got != want {
		t.Errorf("%d pages fetched and %d lost, want the %d of the healthy hosts together", r.fetched, r.lost, want)
	}
	for fate, want := range map[loopnet.Fate]string{
		loopnet.NXDomain:  "no such host",
		loopnet.NoData:    "no such host",
		loopnet.ServFail:  "DNS server misbehaving",
		loopnet.BlackHole: "timeout (which?)",
		loopnet.Mute:      "timeout (which?)",
		loopnet.Closed:    "EOF",
		loopnet.NotTLS:    "not TLS",
		loopnet.Expired:   "certificate expired",
	} {
		if w.hosts[fate] > 0 && r.kinds[string(fate)][want] == 0 {
			t.Errorf("%s: %v, want %q among them", fate, r.kinds[string(fate)], want)
		}
	}
}

func healthyPages(w *world) (n int) {
	for fate, hosts := range w.hosts {
		if fate.OK() {
			n += hosts * len(w.start) / len(w.fates)
		}
	}
	return n
}

func TestRun_InterruptedReportsSoFar(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	// The first hundred pages are quick, the black holes are not.
	stderr := writerFunc(func(b []byte) { cancel() }) // the first line of progress
	var out strings.Builder
	begin := time.Now()
	if code := run(ctx, []string{"-only", "stock", "-hosts", "40", "-timeout", "60s"}, &out, stderr); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if d := time.Since(begin); d > 15*time.Second {
		t.Errorf("ended after %v, want soon after the interruption", d)
	}
	wants(t, out.String(), "INTERRUPTED", "pages fetched", "pages not asked for", "wall time")
}

func TestRun_InterruptedAtOnce(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	var out strings.Builder
	if code := run(ctx, []string{"-hosts", "20"}, &out, io.Discard); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	wants(t, out.String(), "INTERRUPTED", "pages fetched 0\n", "pages not asked for 100\n")
}

type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) { f(b); return len(b), nil }

// wants looks for text, not caring how wide the columns are.
func wants(t *testing.T, out string, parts ...string) {
	t.Helper()
	var words strings.Builder
	for line := range strings.Lines(out) {
		fmt.Fprintln(&words, strings.Join(strings.Fields(line), " "))
	}
	for _, p := range parts {
		if !strings.Contains(words.String(), p) {
			t.Errorf("no %q in:\n%s", p, out)
		}
	}
}

func TestRun_PrintsOneTable(t *testing.T) {
	t.Parallel()
	var out, progress strings.Builder
	if code := run(t.Context(), []string{"-hosts", "10", "-timeout", "1s"}, &out, &progress); code != 0 {
		t.Fatalf("exit code %d: %s", code, &progress)
	}
	wants(t, progress.String(), "stock: 50 of 50 pages, ", "hostwise: 50 of 50 pages, ")
	rows := make(map[string]bool)
	for line := range strings.Lines(out.String()) {
		label, _, _ := strings.Cut(strings.TrimSpace(line), "   ")
		if rows[label] && label != "" {
			t.Errorf("two rows %q in:\n%s", label, &out)
		}
		rows[label] = true
	}
	for _, label := range []string{
		"stock", "pages fetched", "pages lost on healthy hosts", "pages failed",
		"time to first byte, p50", "time to first byte, p90", "time to first byte, p99",
		"DNS queries", "connections tried", "worker time lost on broken hosts", "wall time",
	} {
		if !rows[label] {
			t.Errorf("no row %q in:\n%s", label, &out)
		}
	}
}

func TestRun_CrawlsURLs(t *testing.T) {
	t.Parallel()
	var requests atomic.Int64
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.URL.Path == "/gone" {
			http.NotFound(w, r)
			return
		}
		// Without end, and with links that must not be followed.
		fmt.Fprintf(w, `<a href="%sx">next</a> <a href="#top">top</a> <a href="http://192.0.2.1/">elsewhere</a>
			<a href="mailto:a@b.example">mail</a> <a href="/gone">gone</a>`, r.URL.Path)
	}))
	defer web.Close()
	var out, stderr strings.Builder
	if code := run(t.Context(), []string{"-pages", "5", web.URL}, &out, &stderr); code != 0 {
		t.Fatalf("exit code %d: %s", code, &stderr)
	}
	if got := requests.Load(); got != 10 {
		t.Errorf("%d requests, want 5 from each client", got)
	}
	wants(t, out.String(), "2 workers", "pages fetched 4 4\n", "1 404 Not Found 1 404 Not Found\n")
}

func TestRun_BadArgumentsExit2(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"-nope", "flag provided but not defined: -nope"},
		{"-hosts x", `invalid value "x" for flag -hosts`},
		{"-hosts 0", "-hosts 0: want 1 to 1000"},
		{"-workers 0", "-workers 0: want at least 1"},
		{"-pages -1", "-pages -1: want at least 1"},
		{"-timeout 0s", "-timeout 0s: want more than 0"},
		{"-only curl", `-only "curl": want stock, hostwise or both`},
		{"example.com", `"example.com" is not a URL to crawl: it does not begin with http:// or https://`},
		{"https:///path", `"https:///path" is not a URL to crawl: it names no host`},
		{"http://%zz/", `"http://%zz/" is not a URL: invalid URL escape "%zz"`},
	} {
		var out, stderr strings.Builder
		if code := run(t.Context(), strings.Fields(tt.args), &out, &stderr); code != 2 {
			t.Errorf("%s: exit code %d, want 2", tt.args, code)
		}
		if !strings.HasPrefix(stderr.String(), "crawl: "+tt.want) {
			t.Errorf("%s: said %q, want %q", tt.args, &stderr, tt.want)
		}
		if out.Len() > 0 {
			t.Errorf("%s: printed %q to standard output", tt.args, &out)
		}
	}
}

func TestRun_HelpSaysEverything(t *testing.T) {
	var out, stderr strings.Builder
	if code := run(t.Context(), []string{"-h"}, &out, &stderr); code != 0 || stderr.Len() > 0 {
		t.Errorf("exit code %d and %q on standard error, want 0 and nothing", code, &stderr)
	}
	wants(t, out.String(), "usage:", "Ctrl-C", "exit code", "robots.txt",
		"-hosts", "-workers", "-timeout", "-only", "-seed", "-pages")
}

func TestMix(t *testing.T) {
	for hosts := 1; hosts <= 1000; hosts++ {
		sum := 0
		m := mix(hosts)
		for f, n := range m {
			if n < 0 {
				t.Fatalf("mix(%d): %d hosts of fate %s", hosts, n, f)
			}
			sum += n
		}
		if sum != hosts || m[loopnet.Healthy] < 1 {
			t.Fatalf("mix(%d): %v is %d hosts", hosts, m, sum)
		}
	}
	if m := mix(20); len(m) != len(loopnet.Fates()) {
		t.Errorf("mix(20) has %d fates of %d", len(m), len(loopnet.Fates()))
	}
}

func TestPercentile(t *testing.T) {
	var d []time.Duration
	for i := 100; i > 0; i-- {
		d = append(d, time.Duration(i)*time.Millisecond)
	}
	for p, want := range map[int]string{50: "50.0 ms", 90: "90.0 ms", 99: "99.0 ms"} {
		if got := percentile(d, p); got != want {
			t.Errorf("p%d of 1 to 100 ms: %s, want %s", p, got, want)
		}
	}
	if got := percentile(d[:1], 50); got != "100.0 ms" {
		t.Errorf("p50 of one value: %s", got)
	}
	if got := percentile(nil, 50); got != "-" {
		t.Errorf("p50 of none: %s", got)
	}
}

func TestStdKind_SaysTheInnermostOfTheUnknown(t *testing.T) {
	if got := stdKind(fmt.Errorf("get: %w", errors.New("odd"))); got != "odd" {
		t.Errorf("%q, want the innermost error", got)
	}
}
