package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// settings are what the environment says.
type settings struct {
	timeout     time.Duration
	gap         time.Duration
	concurrency int
	nameservers []string
	insecure    bool
}

func readSettings(getenv func(string) string) (*settings, error) {
	var failed error
	number := func(name string, otherwise float64) float64 {
		text := getenv(name)
		if text == "" {
			return otherwise
		}
		n, err := strconv.ParseFloat(text, 64)
		if (err != nil || n < 0) && failed == nil {
			failed = fmt.Errorf("%s=%q: not a number of 0 or more", name, text)
		}
		return n
	}
	s := &settings{
		timeout:     time.Duration(number("WIRE_TIMEOUT", 15) * float64(time.Second)),
		gap:         time.Duration(number("WIRE_GAP_MS", 0) * float64(time.Millisecond)),
		concurrency: max(1, int(number("WIRE_CONCURRENCY", 1))),
		insecure:    getenv("WIRE_INSECURE") != "",
	}
	list := getenv("WIRE_DNS_LIST")
	if list == "" {
		list = getenv("WIRE_DNS") + "," + getenv("WIRE_DNS6")
	}
	for server := range strings.SplitSeq(list, ",") {
		if server != "" {
			s.nameservers = append(s.nameservers, server)
		}
	}
	return s, failed
}
