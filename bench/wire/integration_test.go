//go:build linux

package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/hostwise-go/hostwise/bench/internal/namespace"
	"github.com/hostwise-go/hostwise/bench/wire/network"
	"github.com/hostwise-go/hostwise/bench/wire/result"
)

// This one makes real namespaces, devices and sockets, and measures hostwise
// in a few fast scenarios. It skips where it cannot, mostly for want of root,
// and with -short: it builds a program and takes some seconds. It tests the
// ruler: which address won, not how fast.
func TestWire_MeasuresHostwiseAndLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	if err := namespace.Check(); err != nil {
		t.Skip(err)
	}
	client := filepath.Join(t.TempDir(), "hostwise")
	if err := buildClient(t.Context(), client); err != nil {
		t.Fatal(err)
	}
	o, err := parseOptions([]string{"-scenario", "^(ok|client-nov6|v6-drop|v6-rst-50|nxdomain|tls-ok)$", "-reps", "1", "-parallel", "2", "-pcap", t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	o.setClient(client)
	r, err := measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]struct {
		winner, order string // order: the addresses tried
	}{
		"ok":          {"6a", "6a"},
		"client-nov6": {"4a", "4a"},
		"v6-drop":     {"4a", "6a 4a"},
		"v6-rst-50":   {"4a", "6a 4a"},
		"nxdomain":    {"", ""},
		"tls-ok":      {"6a", "6a"},
	}
	if len(r.Results) != len(want) {
		t.Errorf("results: got %d, want %d", len(r.Results), len(want))
	}
	for _, x := range r.Results {
		f := x.Fetches[0]
		// A busy machine may try one more address than it must.
		if w := want[x.Scenario]; f.Winner != w.winner || !strings.HasPrefix(x.Addresses(), w.order) || x.Exit != "" {
			t.Errorf("%s: got %q after %q, want %q after %q\n%s", x.Scenario, f.Winner, x.Addresses(), w.winner, w.order, x.Timeline())
		}
		if len(x.Queries) == 0 || x.Queries[0].Answer == result.Never {
			t.Errorf("%s: no query was answered:\n%s", x.Scenario, x.Timeline())
		}
		switch x.Scenario {
		case "nxdomain":
			if f.Class != "dns-notfound" {
				t.Errorf("nxdomain: got class %q", f.Class)
			}
		case "v6-rst-50":
			if f.FirstByte < 50 {
				t.Errorf("v6-rst-50: a page after %v ms, before the RST", f.FirstByte)
			}
		}
	}
	if files, _ := filepath.Glob(filepath.Join(o.pcap, "hostwise-*-0.pcap")); len(files) != len(want) {
		t.Errorf("captures: got %v", files)
	}
	for id := range o.parallel {
		if network.Exists(id) {
			t.Errorf("network %d was left", id)
		}
	}
}
