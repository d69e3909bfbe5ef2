//go:build linux

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hostwise-go/hostwise/bench/lab/internet"
)

// The lab starts its own program as world and as client, which is the test
// binary here.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && (os.Args[1] == worldCommand || os.Args[1] == clientCommand) {
		main()
		return
	}
	os.Exit(m.Run())
}

// This one makes real namespaces, devices and sockets. It skips where these
// cannot be made, mostly for want of root, and with -short: it takes some
// seconds.
func TestLab_SmallCrawlLosesNothingAndLeavesNothing(t *testing.T) {
	if testing.Short() {
		t.Skip("takes some seconds")
	}
	if err := internet.Check(); err != nil {
		t.Skip(err)
	}
	for _, args := range []string{"", "-tls"} {
		rows := t.TempDir()
		o, err := parseOptions(strings.Fields("-clients floor,stock-tuned -scenario clean -hosts 20 -urls 60 -workers 16 -q -rows " + rows + " " + args))
		if err != nil {
			t.Fatal(err)
		}
		reports, err := measureScenario(t.Context(), o, o.scenarios[0])
		if err != nil {
			t.Fatal(err)
		}
		if len(reports) != 2 {
			t.Fatalf("reports: got %d, want 2", len(reports))
		}
		for _, r := range reports {
			if r.Lost != 0 || r.World.Requests != 60 || r.World.WrongHost != 0 {
				t.Errorf("%s %s: got %d pages lost, %d requests, %d to a wrong host; errors %v",
					r.Client, args, r.Lost, r.World.Requests, r.World.WrongHost, r.Errors)
			}
			if dns := r.Queries > 0; dns != (r.Client == "stock-tuned") {
				t.Errorf("%s %s: got %d DNS queries", r.Client, args, r.Queries)
			}
		}
		for _, r := range reports { // how much longer they take is the machine's mood
			if r.TTFB.P50 < 7 {
				t.Errorf("%s %s: median TTFB %v ms, shorter than any path", r.Client, args, r.TTFB.P50)
			}
		}
		if files, _ := filepath.Glob(filepath.Join(rows, "clean-*-1.json")); len(files) != 2 {
			t.Errorf("%s: result files: got %v", args, files)
		}
	}
	if newNamespaces().Exists() {
		t.Error("namespaces or their files were left")
	}
}
