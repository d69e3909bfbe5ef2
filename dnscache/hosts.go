package dnscache

import (
	"bufio"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// hostsRecheck is how often the hosts file is looked at for a change; the
// value is that of package net.
const hostsRecheck = 5 * time.Second

// hostsFile holds the names of a hosts(5) file. Readers take no lock.
type hostsFile struct {
	path  string
	table atomic.Pointer[hostsTable]
	due   atomic.Int64 // time of the next look at the file, on the resolver's clock

	mu    sync.Mutex // one look at a time; protects what follows
	mtime time.Time
	size  int64
}

type hostsTable = map[string][2][]netip.Addr

func (h *hostsFile) isDue(now int64) bool { return now >= h.due.Load() }

// lookup returns the addresses of name by family. A name that is there for
// one family only has no address in the other, as in package net.
func (h *hostsFile) lookup(name string) (addrs [2][]netip.Addr, ok bool) {
	if t := h.table.Load(); t != nil {
		addrs, ok = (*t)[name]
	}
	return addrs, ok
}

// reload reads the file again if it has changed, and returns the names that
// are there then. A file that cannot be read has no names.
func (h *hostsFile) reload(now int64) hostsTable {
	if !h.mu.TryLock() {
		return nil // somebody else looks
	}
	defer h.mu.Unlock()
	h.due.Store(now + int64(hostsRecheck))
	st, err := os.Stat(h.path)
	if err == nil && h.table.Load() != nil && st.ModTime().Equal(h.mtime) && st.Size() == h.size {
		return nil
	}
	table := hostsTable{}
	if err == nil && st.Mode().IsRegular() {
		if b, err := os.ReadFile(h.path); err == nil {
			table = parseHosts(string(b))
			h.mtime, h.size = st.ModTime(), st.Size()
		}
	}
	h.table.Store(&table)
	return table
}

// parseHosts reads the lines "address name [alias ...]" of hosts(5), leaving
// out what it does not understand.
func parseHosts(text string) hostsTable {
	table := hostsTable{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		a, err := netip.ParseAddr(f[0])
		if err != nil {
			continue
		}
		fam := v6
		if a = a.Unmap(); a.Is4() {
			fam = v4
		}
		for _, n := range f[1:] {
			if name, fault := normalize(n); fault == "" {
				e := table[name]
				e[fam] = append(e[fam], a)
				table[name] = e
			}
		}
	}
	return table
}

func systemHostsFile() string {
	if runtime.GOOS == "windows" {
		return filepath.Join(os.Getenv("SystemRoot"), "System32", "drivers", "etc", "hosts")
	}
	return "/etc/hosts"
}

// readResolvConf returns the nameservers of a resolv.conf(5) file; without
// any, the local ones, as the C library does.
func readResolvConf(path string) ([]string, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var servers []string
	for s := bufio.NewScanner(f); s.Scan(); {
		if w := strings.Fields(s.Text()); len(w) >= 2 && w[0] == "nameserver" {
			if a, err := netip.ParseAddr(w[1]); err == nil && len(servers) < maxNameservers {
				servers = append(servers, a.String())
			}
		}
	}
	if len(servers) == 0 {
		servers = []string{"127.0.0.1", "::1"}
	}
	return servers, nil
}

// maxNameservers is MAXNS of resolv.conf(5).
const maxNameservers = 3
