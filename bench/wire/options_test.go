//go:build linux

package main

import (
	"strings"
	"testing"
)

func TestParseOptions(t *testing.T) {
	for _, tt := range []struct {
		args      string
		scenarios int // -1: an error
	}{
		{"", 43},
		{"-scenario ^v6-drop$", 1},
		{"-scenario ^mem- -reps 1", 5},
		{"-sweep cad:0:400:100", 5},
		{"-list", 43},
		{"-compare a.json b.json", 0},
		{"-compare", -1},
		{"a.json", -1},
		{"-scenario nothing", -1},
		{"-scenario (", -1},
		{"-sweep cad", -1},
		{"-reps 0", -1},
		{"-parallel 0", -1},
		{"-timeout 0", -1},
	} {
		o, err := parseOptions(strings.Fields(tt.args))
		switch {
		case tt.scenarios < 0 && err == nil:
			t.Errorf("%q: no error", tt.args)
		case tt.scenarios >= 0 && (err != nil || len(o.scenarios) != tt.scenarios):
			t.Errorf("%q: got %+v %v, want %d scenarios", tt.args, o, err, tt.scenarios)
		}
	}
}

func TestSetClient_NamesItAfterItsProgram(t *testing.T) {
	for _, tt := range []struct{ name, command, want string }{
		{"", "/usr/bin/curl --silent", "curl"},
		{"mine", "/usr/bin/curl", "mine"},
	} {
		o := &options{name: tt.name}
		o.setClient(tt.command)
		if o.name != tt.want || o.client != tt.command {
			t.Errorf("%q: got %q %q, want %q", tt.command, o.name, o.client, tt.want)
		}
	}
}
