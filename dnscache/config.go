package dnscache

import (
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"
)

// A config says whom to ask and how. It never changes once made: another one
// takes its place when resolv.conf has changed.
type config struct {
	servers []*server
	search  []string // domains to try behind a name with less than ndots dots
	ndots   int
	timeout time.Duration
	tries   int
	rotate  *atomic.Uint32 // begins every question with the next server; may be nil
}

// lookupTime is how long a lookup takes at most.
func (c *config) lookupTime() time.Duration { return c.timeout * time.Duration(c.tries) }

// maxSends is the number of times a question is sent at most: tries to each
// server, where a lone server counts as two, since no other can make up for
// a lost packet.
func (c *config) maxSends() int { return c.tries * max(len(c.servers), 2) }

func (r *Resolver) timeout() time.Duration    { return r.conf.Load().timeout }
func (r *Resolver) lookupTime() time.Duration { return r.conf.Load().lookupTime() }

// firstServer is the one to begin the next question with.
func (c *config) firstServer() int {
	if c.rotate == nil {
		return 0
	}
	return int((c.rotate.Add(1) - 1) % uint32(len(c.servers))) // an int may have 32 bits
}

// newConfig returns what Options.Servers or else the file says. Servers that
// old has are taken over, with their health and connections.
func (r *Resolver) newConfig(file resolvConf, old []*server) (*config, error) {
	c := &config{ndots: 1, timeout: r.opt.Timeout, tries: r.opt.Tries}
	names := r.opt.Servers
	if len(names) == 0 {
		names, c.search, c.ndots = file.servers, file.search, file.ndots
		if c.timeout == 0 {
			c.timeout = file.timeout
		}
		if c.tries == 0 {
			c.tries = file.attempts
		}
		if file.rotate {
			c.rotate = new(atomic.Uint32)
		}
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.tries == 0 {
		c.tries = defaultTries
	}
	for _, n := range names {
		s, err := r.newServer(n, c.timeout)
		if err != nil {
			return nil, err
		}
		for _, o := range old {
			if o.name == s.name && o.protocol == s.protocol { // "use-vc" may have come or gone
				s = o
			}
		}
		c.servers = append(c.servers, s)
	}
	return c, nil
}

// firstConfig is the config of a new Resolver.
func (r *Resolver) firstConfig() (*config, error) {
	var file resolvConf
	if len(r.opt.Servers) == 0 {
		text, err := r.firstResolvConf()
		if err != nil {
			return nil, fmt.Errorf("dnscache: Options.Servers is empty, and the system's nameservers cannot be read: %w; name some, such as \"1.1.1.1\"", err)
		}
		file = parseResolvConf(text)
	}
	return r.newConfig(file, nil)
}

// firstResolvConf is the text of the file for a new Resolver.
func (r *Resolver) firstResolvConf() (string, error) {
	path := r.resolvConf.path
	switch st, err := os.Stat(path); {
	case err != nil:
		return "", err
	case !st.Mode().IsRegular():
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	text, ok := r.resolvConf.look(r.clock.exact())
	if !ok {
		return "", fmt.Errorf("%s cannot be read", path)
	}
	return text, nil
}

// config returns what holds now: resolv.conf is read again when it has
// changed. Negative answers and failures are forgotten then, for the new
// servers may know better. A file that has gone or names no nameserver changes
// nothing: it is being written.
func (r *Resolver) config(now int64) *config {
	c := r.conf.Load()
	if len(r.opt.Servers) > 0 || !r.resolvConf.isDue(now) {
		return c
	}
	text, changed := r.resolvConf.look(now)
	if !changed {
		return c
	}
	file := parseResolvConf(text)
	if file.none {
		return c
	}
	fresh, err := r.newConfig(file, c.servers)
	if err != nil {
		return c
	}
	r.conf.Store(fresh)
	r.cache.forgetErrors(false)
	return fresh
}

// candidates returns the names that host may stand for, in the order in which
// they are tried: with the search domains behind it when it has less than
// ndots dots, and as it is. There are none when host is to be taken as it is.
// Other than with package net, a name with enough dots is tried as it is
// only: else each dead name of a crawl would cost as many queries again as
// there are domains.
func (r *Resolver) candidates(host string) (names []string) {
	c := r.conf.Load()
	if len(c.search) == 0 {
		return nil
	}
	c = r.config(r.clock.exact())
	if strings.HasSuffix(host, ".") || strings.Count(host, ".") >= c.ndots || r.isStatic(host) {
		return nil
	}
	for _, domain := range c.search {
		if n := host + "." + domain; len(n) <= maxName {
			names = append(names, n)
		}
	}
	return append(names, host)
}
