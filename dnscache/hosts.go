package dnscache

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
)

// hostsFile holds the names of a hosts(5) file. Readers take no lock.
type hostsFile struct {
	watchedFile
	static hostsTable // goes before the file: Options.Hosts
	table  atomic.Pointer[hostsTable]
}

type hostsTable map[string][2][]netip.Addr

// add takes in one more address of a name.
func (t hostsTable) add(name string, a netip.Addr) {
	f, e := familyOf(a), t[name]
	e[f] = append(e[f], a.Unmap())
	t[name] = e
}

// lookup returns the addresses of name by family. A name that is there for
// one family only has no address in the other, as in package net.
func (h *hostsFile) lookup(name string) (addrs [2][]netip.Addr, ok bool) {
	if addrs, ok = h.static[name]; ok {
		return addrs, true
	}
	if t := h.table.Load(); t != nil {
		addrs, ok = (*t)[name]
	}
	return addrs, ok
}

// atOnce is the size in bytes up to which a file is read by the lookup that
// finds it changed, in about a millisecond.
const atOnce = 64 << 10

// reload reads the file again if it has changed, and calls forget with the
// names that are there then. A large file is read by a goroutine that begin
// starts, if it is not nil; until it is done the old names hold.
func (h *hostsFile) reload(now int64, forget func(name string), begin func(run func()) bool) {
	if !h.mu.TryLock() {
		return // somebody else looks
	}
	if !h.changed(now) {
		h.mu.Unlock()
		return
	}
	read := func() {
		defer h.mu.Unlock()
		h.read(forget)
	}
	if h.size <= atOnce || begin == nil {
		read()
	} else if !begin(read) {
		h.mu.Unlock()
	}
}

// read takes in the names of the file; if it cannot be read, the old ones
// stay. h.mu is held.
func (h *hostsFile) read(forget func(name string)) {
	text, ok := h.watchedFile.read()
	if !ok {
		return
	}
	table := parseHosts(text)
	h.table.Store(&table)
	for name := range table {
		forget(name) // or a hit would not see the change
	}
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
		for _, n := range f[1:] {
			if name, fault := normalize(n); fault == "" {
				table.add(name, a)
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

// staticHosts makes a table of Options.Hosts.
func staticHosts(hosts map[string][]netip.Addr) (hostsTable, error) {
	table := hostsTable{}
	for host, addrs := range hosts {
		name, fault := normalize(host)
		if fault != "" {
			return nil, fmt.Errorf("dnscache: Options.Hosts: %q: %s", host, fault)
		}
		table[name] = [2][]netip.Addr{} // without addresses, the name does not exist
		for _, a := range addrs {
			if !a.IsValid() {
				return nil, fmt.Errorf("dnscache: Options.Hosts: %q has an address that is the zero netip.Addr", host)
			}
			table.add(name, a)
		}
	}
	return table, nil
}
