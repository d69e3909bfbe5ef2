package dnscache

import (
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"
)

// A resolvConf is what a resolv.conf(5) file says.
type resolvConf struct {
	servers  []string
	search   []string
	ndots    int
	timeout  time.Duration // 0: it does not say
	attempts int           // 0: it does not say
	rotate   bool
	tcp      bool
	none     bool // it names no nameserver: servers are the local ones
}

// Bounds of resolv.conf(5).
const (
	maxNameservers = 3
	maxNDots       = 15
	maxConfTimeout = 30 * time.Second
	maxAttempts    = 5
)

// parseResolvConf reads a resolv.conf(5) file, leaving out what it does not
// understand. Without a nameserver it names the local ones, and without
// search domains the host name's, as the C library does.
func parseResolvConf(text string) resolvConf {
	c := resolvConf{ndots: 1}
	searches := false
	for line := range strings.Lines(text) {
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		w := strings.Fields(line)
		if len(w) < 2 {
			continue
		}
		switch w[0] {
		case "nameserver":
			if a, err := netip.ParseAddr(w[1]); err == nil && len(c.servers) < maxNameservers {
				if _, err := parseServer(a.String()); err == nil { // it has no strange zone
					c.servers = append(c.servers, a.String())
				}
			}
		case "domain":
			c.search, searches = searchList(w[1:2]), true
		case "search":
			c.search, searches = searchList(w[1:]), true
		case "options":
			for _, o := range w[1:] {
				c.option(o)
			}
		}
	}
	if len(c.servers) == 0 {
		c.none = true
		c.servers = []string{"127.0.0.1", "::1"}
	}
	if c.tcp {
		for i, s := range c.servers {
			c.servers[i] = "tcp://" + s
		}
	}
	if !searches {
		if host, err := os.Hostname(); err == nil {
			if _, domain, ok := strings.Cut(host, "."); ok {
				c.search = searchList([]string{domain})
			}
		}
	}
	return c
}

// searchList keeps the domains that are names.
func searchList(domains []string) (list []string) {
	for _, d := range domains {
		if name, fault := normalize(d); fault == "" {
			list = append(list, name)
		}
	}
	return list
}

func (c *resolvConf) option(o string) {
	name, value, _ := strings.Cut(o, ":")
	n, err := strconv.Atoi(value)
	number := err == nil && n >= 0
	switch {
	case name == "ndots" && number:
		c.ndots = min(n, maxNDots)
	case name == "timeout" && number:
		c.timeout = min(max(time.Duration(n)*time.Second, time.Second), maxConfTimeout)
	case name == "attempts" && number:
		c.attempts = min(max(n, 1), maxAttempts)
	case o == "rotate":
		c.rotate = true
	case o == "use-vc":
		c.tcp = true
	}
}
