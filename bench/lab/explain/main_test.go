package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hostwise-go/hostwise/bench/lab/crawl"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

func TestExplain_ListsLostAndSlowPagesOfHealthyHosts(t *testing.T) {
	s := world.Scenarios()["web"]
	w, err := world.New(s, 1)
	if err != nil {
		t.Fatal(err)
	}
	var r crawl.Result
	lost, slow := -1, -1
	for k, i := range w.Work {
		row := crawl.Row{URL: k, TTFB: 50, Kind: crawl.OK}
		h := w.Hosts[i]
		switch {
		case h.Fate != world.OK:
			row.Kind = crawl.Timeout // not a lost page
		case h.V4[0].Treatment == world.Drop && lost < 0:
			lost, row.Kind = k, crawl.Timeout
		case h.ServFailFirst && slow < 0:
			slow, row.TTFB = k, 2000
		}
		r.Rows = append(r.Rows, row)
	}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "rows.json")
	if err := os.WriteFile(file, b, 0o644); err != nil {
		t.Fatal(err)
	}
	for limit, want := range map[float64][]string{
		0:    {"timeout first-A-dead"},
		1500: {"timeout first-A-dead", "ok servfail-first"},
	} {
		var out strings.Builder
		if err := explain(&out, "web", 1, 0, file, limit); err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(out.String(), "\n"); got != len(want)+1 {
			t.Errorf("-slow %v: got %d lines, want %d:\n%s", limit, got, len(want)+1, out.String())
		}
		for _, line := range want {
			if !strings.Contains(out.String(), line+"\n") {
				t.Errorf("-slow %v: no line ends with %q:\n%s", limit, line, out.String())
			}
		}
	}
}
