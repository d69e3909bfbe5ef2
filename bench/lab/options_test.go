//go:build linux

package main

import (
	"slices"
	"strings"
	"testing"
)

func TestParseOptions_ScenariosTakeTheOverrides(t *testing.T) {
	o, err := parseOptions(strings.Fields("-clients floor,mine -program mine=/bin/mine -scenario web,dead -seed 1,2,30 -hosts 10 -workers 5 -tls"))
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"floor", "mine"}; !slices.Equal(o.clients, want) {
		t.Errorf("clients: got %v, want %v", o.clients, want)
	}
	if got := o.programs["mine"]; got != "/bin/mine" {
		t.Errorf("program: got %q", got)
	}
	if got := o.seedList(); got != "1,2,30" {
		t.Errorf("seeds: got %s", got)
	}
	for i, urls := range []int{4000, 3000} {
		if s := o.scenarios[i]; s.Hosts != 10 || s.Workers != 5 || s.URLs != urls || s.PerHost != 8 || !s.TLS {
			t.Errorf("%s: got %d hosts, %d workers, %d URLs, %d per host, TLS %v", s.Name, s.Hosts, s.Workers, s.URLs, s.PerHost, s.TLS)
		}
	}
}

func TestParseOptions_SaysWhatIsWrong(t *testing.T) {
	for args, want := range map[string]string{
		"-clients nosuch":  `no client "nosuch"; there are colly`,
		"-scenario nosuch": `no scenario "nosuch"`,
		"-seed one":        `seed "one"`,
		"-program mine":    "not NAME=FILE",
		"web":              `unknown argument "web"`,
	} {
		if _, err := parseOptions(strings.Fields(args)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got error %v, want one with %q", args, err, want)
		}
	}
}

func TestParseOptions_DefaultClientsExist(t *testing.T) {
	o, err := parseOptions(nil)
	if err != nil {
		t.Fatal(err)
	}
	if len(o.clients) < 2 || o.clients[0] != "floor" {
		t.Errorf("got %v", o.clients)
	}
}
