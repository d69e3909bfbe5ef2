//go:build linux

package crawl

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// fake takes 100 ms for a page, and fails for some.
type fake struct{ closed bool }

func (f *fake) Fetch(_ context.Context, url string) Outcome {
	time.Sleep(100 * time.Millisecond)
	switch {
	case strings.HasSuffix(url, "fail"):
		return Outcome{Err: errors.New("no luck")}
	case strings.HasSuffix(url, "404"):
		return Outcome{TTFB: 90 * time.Millisecond, Status: 404}
	}
	return Outcome{TTFB: 90 * time.Millisecond, Status: 200}
}

func (f *fake) Classify(error) Kind { return NXDomain }

func (f *fake) Close() { f.closed = true }

func TestMain_WritesWhatBecameOfEachURL(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		planFile, outFile := filepath.Join(dir, "plan"), filepath.Join(dir, "out")
		b, err := json.Marshal(Plan{
			Client:  "fake",
			URLs:    []string{"http://a.test/0", "http://a.test/404", "http://b.test/fail"},
			Host:    []int32{0, 0, 1},
			Workers: 2,
			PerHost: 1,
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(planFile, b, 0o644); err != nil {
			t.Fatal(err)
		}
		c := new(fake)
		factories := map[string]Factory{"fake": func(Config) (Client, error) { return c, nil }}
		if err := Main([]string{"--plan", planFile, "--out", outFile}, factories); err != nil {
			t.Fatal(err)
		}
		b, err = os.ReadFile(outFile)
		if err != nil {
			t.Fatal(err)
		}
		var r Result
		if err := json.Unmarshal(b, &r); err != nil {
			t.Fatal(err)
		}
		want := []Row{
			{URL: 0, Start: 0, TTFB: 90, Total: 100, Kind: OK},
			{URL: 1, Start: 100, TTFB: 90, Total: 100, Kind: Other, Err: "HTTP 404"}, // its host was busy
			{URL: 2, Start: 0, Total: 100, Kind: NXDomain, Err: "no luck"},
		}
		if !slices.Equal(r.Rows, want) {
			t.Errorf("rows: got %+v, want %+v", r.Rows, want)
		}
		if r.Wall != 0.2 {
			t.Errorf("wall: got %v s, want 0.2", r.Wall)
		}
		if r.RSSBase <= 0 || r.RSSPeak < r.RSSBase {
			t.Errorf("resident: got %v MB at the begin, peak %v", r.RSSBase, r.RSSPeak)
		}
		if !c.closed {
			t.Error("the client was not closed")
		}
	})
}

func TestMain_UnknownClientIsNamed(t *testing.T) {
	planFile := filepath.Join(t.TempDir(), "plan")
	if err := os.WriteFile(planFile, []byte(`{"client":"nosuch"}`), 0o644); err != nil {
		t.Fatal(err)
	}
	err := Main([]string{"--plan", planFile}, map[string]Factory{"b": nil, "a": nil})
	if err == nil || err.Error() != `no client "nosuch" here, there are [a b]` {
		t.Errorf("got error %v", err)
	}
}
