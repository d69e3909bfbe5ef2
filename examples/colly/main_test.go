package main

import (
	"fmt"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(t.Context(), &out); err != nil {
		t.Fatal(err)
	}
	t.Log(out.String())
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var requests, responses, retries, recovered, gaveUp, skipped int
	if _, err := fmt.Sscanf(lines[len(lines)-2], "%d requests, %d with a response, %d retries: %d pages recovered, %d given up, %d skipped",
		&requests, &responses, &retries, &recovered, &gaveUp, &skipped); err != nil {
		t.Fatalf("%q: %v", lines[len(lines)-2], err)
	}
	failed := strings.Count(out.String(), "attempt failed")
	if requests != responses+failed {
		t.Errorf("%d requests, %d responses and %d failures", requests, responses, failed)
	}
	if recovered != 1 || gaveUp < 2 || skipped != strings.Count(out.String(), "skipped         host_down") || responses < 12 {
		t.Errorf("%d pages recovered, %d given up, %d skipped, %d responses; want the portal recovered, the dead hosts given up and the rest fetched", recovered, gaveUp, skipped, responses)
	}
	for _, want := range []string{"prewarmed       ok", "prewarmed       dns_nxdomain", "gave up         dns_nxdomain"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no line %q", want)
		}
	}
}
