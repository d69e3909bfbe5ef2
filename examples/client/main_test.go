package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(&out); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	last := lines[len(lines)-1]
	var requests, conns, queries, known int
	if _, err := fmt.Sscanf(last, "%d requests on %d connections, %d DNS queries, %d lookups answered from memory",
		&requests, &conns, &queries, &known); err != nil {
		t.Fatalf("%q: %v", last, err)
	}
	// Two pages, twice, of each host.
	hosts := requests / 4
	if requests != len(lines)-1 || hosts < 3 {
		t.Errorf("%d requests and %d lines of pages, want 4 of each host", requests, len(lines)-1)
	}
	// A connection may be on its way back to the idle ones when those are
	// closed, so not every host is dialled twice.
	if conns <= hosts || queries > 2*hosts || known == 0 {
		t.Errorf("%q, want every name asked for once, and known on the second visit", last)
	}
	for _, l := range lines[:len(lines)-1] {
		if !strings.Contains(l, "  200 OK HTTP/") {
			t.Errorf("line %q, want a page", l)
		}
	}
	if !strings.Contains(out.String(), "200 OK HTTP/2.0  https ") {
		t.Errorf("no page over HTTP/2:\n%s", &out)
	}
}
