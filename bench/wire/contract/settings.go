package contract

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Settings are what the environment tells a client.
type Settings struct {
	Timeout     time.Duration // WIRE_TIMEOUT, in seconds: the limit for one fetch; default 15 s
	Gap         time.Duration // WIRE_GAP_MS: the pause before each fetch but the first
	Concurrency int           // WIRE_CONCURRENCY: fetches at a time; default 1
	Nameservers []string      // WIRE_DNS_LIST: address:port, in the order of resolv.conf, as a comma list
	DNS, DNS6   string        // WIRE_DNS, WIRE_DNS6: the good nameserver's addresses, for clients that take one
	Insecure    bool          // WIRE_INSECURE, not empty: any certificate will do
}

// Environ is the settings as they stand in the environment.
func (s *Settings) Environ() []string {
	insecure := ""
	if s.Insecure {
		insecure = "1"
	}
	return []string{
		fmt.Sprintf("WIRE_TIMEOUT=%g", s.Timeout.Seconds()),
		fmt.Sprintf("WIRE_GAP_MS=%d", s.Gap.Milliseconds()),
		fmt.Sprintf("WIRE_CONCURRENCY=%d", s.Concurrency),
		"WIRE_DNS_LIST=" + strings.Join(s.Nameservers, ","),
		"WIRE_DNS=" + s.DNS,
		"WIRE_DNS6=" + s.DNS6,
		"WIRE_INSECURE=" + insecure,
	}
}

// readSettings reads the environment. Nameservers is empty if it names none.
func readSettings(getenv func(string) string) (*Settings, error) {
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
	s := &Settings{
		Timeout:     time.Duration(number("WIRE_TIMEOUT", 15) * float64(time.Second)),
		Gap:         time.Duration(number("WIRE_GAP_MS", 0) * float64(time.Millisecond)),
		Concurrency: max(1, int(number("WIRE_CONCURRENCY", 1))),
		DNS:         getenv("WIRE_DNS"),
		DNS6:        getenv("WIRE_DNS6"),
		Insecure:    getenv("WIRE_INSECURE") != "",
	}
	list := getenv("WIRE_DNS_LIST")
	if list == "" {
		list = s.DNS + "," + s.DNS6
	}
	for server := range strings.SplitSeq(list, ",") {
		if server != "" {
			s.Nameservers = append(s.Nameservers, server)
		}
	}
	return s, failed
}
