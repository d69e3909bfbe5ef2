package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// crawl runs the command and checks that all is accounted for.
func crawl(t *testing.T, cfg config) (pages int, out string) {
	t.Helper()
	var b strings.Builder
	if err := run(t.Context(), cfg, &b); err != nil {
		t.Fatal(err)
	}
	out = b.String()
	t.Log(out)
	var requests, responses, failed int
	for line := range strings.Lines(out) {
		switch {
		case strings.Contains(line, " pages in "):
			fmt.Sscanf(line, "%d", &pages)
		case strings.Contains(line, " requests: "):
			fmt.Sscanf(line, "%d requests: %d with a response, %d failed", &requests, &responses, &failed)
		}
	}
	if requests == 0 || requests != responses+failed {
		t.Errorf("%d requests, %d with a response and %d failed", requests, responses, failed)
	}
	return pages, out
}

func TestRun(t *testing.T) {
	pages, out := crawl(t, config{hosts: 50, pages: 4, threads: 16, retries: 6})
	if want := 40 * 4; pages != want { // a tenth does not exist, and a tenth does not answer
		t.Errorf("%d pages, want the %d of the hosts in order", pages, want)
	}
	for _, want := range []string{"5 names do not resolve", "    10  dns_nxdomain"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q", want)
		}
	}
}

func TestRun_OfAList(t *testing.T) {
	list := filepath.Join(t.TempDir(), "urls")
	if err := os.WriteFile(list, []byte("http://127.0.0.1/\nhttp://[::1]/\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, out := crawl(t, config{file: list, pages: 1, threads: 2, patience: time.Second})
	if !strings.Contains(out, "2  policy_denied") {
		t.Error("links may lead into the own network")
	}
}
