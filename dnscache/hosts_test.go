package dnscache

import (
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

func list(addrs ...string) (as []netip.Addr) {
	for _, a := range addrs {
		as = append(as, netip.MustParseAddr(a))
	}
	return as
}

func TestParseHosts(t *testing.T) {
	got := parseHosts("# comment\n" +
		"192.0.2.1\ta.test A.alias.test. # b.test\n" +
		"  2001:db8::1 a.test\r\n" +
		"192.0.2.2 a.test\n" +
		"::ffff:192.0.2.3 mapped.test\n" +
		"fe80::1%lo zone.test\n" +
		"192.0.2.4\n" +
		"192.0.2 bad.test\n" +
		"192.0.2.5 bad..test 127.1 good.test\n" +
		"#192.0.2.6 off.test\n" +
		"192.0.2.7 last.test")
	want := map[string][2][]netip.Addr{
		"a.test":       {v6: list("2001:db8::1"), v4: list("192.0.2.1", "192.0.2.2")},
		"a.alias.test": {v4: list("192.0.2.1")},
		"mapped.test":  {v4: list("192.0.2.3")},
		"zone.test":    {v6: list("fe80::1%lo")},
		"good.test":    {v4: list("192.0.2.5")},
		"last.test":    {v4: list("192.0.2.7")},
	}
	if !maps.EqualFunc(got, want, func(a, b [2][]netip.Addr) bool { return slices.Equal(a[v6], b[v6]) && slices.Equal(a[v4], b[v4]) }) {
		t.Errorf("parseHosts:\n%v\nwant\n%v", got, want)
	}
}

// FuzzParseHosts reads any text, and reads what it has read again when it is
// written down in order. A line that is in order is read whatever comes before
// it.
func FuzzParseHosts(f *testing.F) {
	f.Add("127.0.0.1 localhost\n::1 localhost ip6-localhost # x\n")
	f.Add("192.0.2.1\x00a.test\n\n#\n192.0.2.1 A.TEST. a..b 0x7f\r\n")
	f.Fuzz(func(t *testing.T, text string) {
		table := parseHosts(text)
		var lines strings.Builder
		for name, addrs := range table {
			for _, a := range slices.Concat(addrs[v6], addrs[v4]) {
				fmt.Fprintln(&lines, a, name)
			}
		}
		if again := parseHosts(lines.String()); !reflect.DeepEqual(again, table) {
			t.Errorf("read again: %v, want %v", again, table)
		}
		more := parseHosts(text + "\n192.0.2.99\tgood.test Better.Test\n")
		for _, name := range []string{"good.test", "better.test"} {
			if got := more[name][v4]; !slices.Equal(got, append(slices.Clone(table[name][v4]), list("192.0.2.99")...)) {
				t.Errorf("%s: %v behind this text, want 192.0.2.99 as well", name, got)
			}
		}
		for name, addrs := range table {
			if again, fault := normalize(name); again != name || fault != "" {
				t.Errorf("the table has %q, of which normalize makes %q, %q", name, again, fault)
			}
			if isASCII(text) && !strings.Contains(strings.ToLower(text), name) {
				t.Errorf("the table has %q, the text has not", name)
			}
			for f, list := range addrs {
				for _, a := range list {
					if a.Is4() != (family(f) == v4) || a.Is4In6() {
						t.Errorf("%s: %v is listed for %s", name, a, family(f).network())
					}
				}
			}
			if len(addrs[v6])+len(addrs[v4]) == 0 {
				t.Errorf("%s has no address", name)
			}
		}
	})
}

// Times are explicit: a look at the file is due every five seconds.
func TestHostsFile_IsLookedAtEveryFiveSeconds(t *testing.T) {
	path := filepath.Join(t.TempDir(), "hosts")
	h := hostsFile{watchedFile: watchedFile{path: path}}
	written := time.Now()
	write := func(text string, mtime time.Time) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, mtime, mtime); err != nil {
			t.Fatal(err)
		}
	}
	check := func(after time.Duration, want ...string) {
		t.Helper()
		if now := int64(time.Hour + after); h.isDue(now) {
			h.reload(now, func(string) {}, nil)
		}
		got, ok := h.lookup("a.test")
		if !slices.Equal(got[v4], list(want...)) || ok != (len(want) > 0) {
			t.Errorf("after %v: %v, %v, want %v", after, got[v4], ok, want)
		}
	}
	check(0) // there is no file
	write("192.0.2.1 a.test", written)
	check(5*time.Second - 1)
	check(5*time.Second, "192.0.2.1")
	write("192.0.2.2 a.test", written.Add(time.Second)) // as long as the other
	check(10*time.Second-1, "192.0.2.1")
	check(10*time.Second, "192.0.2.2")
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	check(15*time.Second, []string{}...)
}

// A file that is there but cannot be read, for want of a descriptor perhaps,
// keeps its names, and is looked at again.
func TestHostsFile_KeepsItsNamesWhenItCannotBeRead(t *testing.T) {
	const unreadable = "/proc/self/mem" // a regular file, whose first byte is an I/O error even to root
	if st, err := os.Stat(unreadable); err != nil || !st.Mode().IsRegular() {
		t.Skip("no file here that nobody can read")
	}
	dir := t.TempDir()
	path, text := filepath.Join(dir, "hosts"), filepath.Join(dir, "text")
	link := func(to string) {
		t.Helper()
		_ = os.Remove(path)
		if err := os.Symlink(to, path); err != nil {
			t.Fatal(err)
		}
	}
	write := func(s string) {
		t.Helper()
		if err := os.WriteFile(text, []byte(s), 0o644); err != nil {
			t.Fatal(err)
		}
		link(text)
	}
	h := hostsFile{watchedFile: watchedFile{path: path}}
	check := func(now time.Duration, want string) {
		t.Helper()
		h.reload(int64(now), func(string) {}, nil)
		if got, _ := h.lookup("a.test"); !slices.Equal(got[v4], list(want)) {
			t.Errorf("after %v: %v, want %v", now, got[v4], want)
		}
	}
	write("192.0.2.1 a.test")
	check(0, "192.0.2.1")
	link(unreadable)
	check(5*time.Second, "192.0.2.1")
	check(10*time.Second, "192.0.2.1")
	write("192.0.2.22 a.test")
	check(15*time.Second, "192.0.2.22")
}
