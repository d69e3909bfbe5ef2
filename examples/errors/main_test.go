package main

import (
	"runtime"
	"strings"
	"testing"
)

func TestRun(t *testing.T) {
	var out strings.Builder
	if err := run(&out); err != nil {
		t.Fatal(err)
	}
	got := make(map[string]string)
	for line := range strings.Lines(out.String()) {
		host, rest, _ := strings.Cut(line, "  ")
		f := strings.Fields(rest)
		got[host] = strings.Join(f[:3], " ")
	}
	for host, want := range map[string]string{
		"healthy":          "- - -",
		"nxdomain":         "dns_nxdomain resolve false",
		"nodata":           "dns_nodata resolve false",
		"servfail":         "dns_servfail resolve true",
		"dns-silent":       "dns_timeout resolve true",
		"refused":          "connect_refused connect true",
		"black-hole":       "connect_timeout connect true",
		"mute":             "http_header_timeout request true",
		"closed":           "http_eof request true",
		"not-tls":          "tls_not_tls tls false",
		"expired-cert":     "tls_expired tls false",
		"refused, again":   "host_down - true",
		"healthy, guarded": "policy_denied connect false",
	} {
		if got[host] != want && (got[host] != "" || runtime.GOOS == "linux") {
			t.Errorf("%s: %q, want %q", host, got[host], want)
		}
	}
	if t.Failed() {
		t.Log(out.String())
	}
}
