package dnscache

import (
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

	"golang.org/x/net/idna"
)

func TestNormalize(t *testing.T) {
	long := strings.Repeat("a", 63)
	longest := strings.Join([]string{long, long, long, strings.Repeat("b", 61)}, ".") // 253 bytes
	for _, tt := range []struct{ host, want, fault string }{
		{"a.test", "a.test", ""},
		{"A.Test", "a.test", ""},
		{"a.test.", "a.test", ""},
		{"localhost", "localhost", ""},
		{"_dmarc.a.test", "_dmarc.a.test", ""},
		{"-a-.test", "-a-.test", ""},
		{"xn--bcher-kva.test", "xn--bcher-kva.test", ""},
		{"1.2.3.4.test", "1.2.3.4.test", ""},
		{"1.2.3.4a", "1.2.3.4a", ""},
		{"0xyz", "0xyz", ""},
		{long + ".test", long + ".test", ""},
		{longest, longest, ""},
		{longest + ".", longest, ""},
		{"", "", "empty or longer than 253 bytes"},
		{".", "", "empty or longer than 253 bytes"},
		{longest + "b", "", "empty or longer than 253 bytes"},
		{"a..b", "", "empty label"},
		{".a", "", "empty label"},
		{"a..", "", "empty label"},
		{long + "a.test", "", "label longer than 63 bytes"},
		{"a.test" + long, "", "label longer than 63 bytes"},
		{"a b", "", "a character other than letters, digits, - and _"},
		{"a\x00b", "", "a character other than letters, digits, - and _"},
		{"a/b", "", "a character other than letters, digits, - and _"},
		{"a:80", "", "a character other than letters, digits, - and _"},
		{`a\.b`, "", "a character other than letters, digits, - and _"},
		{"bücher.test", "xn--bcher-kva.test", ""},
		{"BÜCHER.Test.", "xn--bcher-kva.test", ""},
		{"straße.test", "xn--strae-oqa.test", ""}, // not transitional: not strasse
		{"\u212A.test", "k.test", ""},             // KELVIN SIGN, lower case k
		{"例え。テスト", "xn--r8jz45g.xn--zckzah", ""},  // with an ideographic full stop
		{"\uff11\uff12\uff17.0.0.1", "", "last label is a number, but the whole is not an IP address"}, // full-width digits
		{"\u2100.test", "", "not an internationalized domain name (UTS 46)"},                           // ℀ is a/c
		{"a\u200b\u00ad.test\xff", "", "not an internationalized domain name (UTS 46)"},
		{strings.Repeat("ü", 63) + ".test", "", "label longer than 63 bytes"},
		{"127.1", "", "last label is a number, but the whole is not an IP address"},
		{"1.2.3.4.5", "", "last label is a number, but the whole is not an IP address"},
		{"2130706433", "", "last label is a number, but the whole is not an IP address"},
		{"0x7f000001", "", "last label is a number, but the whole is not an IP address"},
		{"a.0X7F", "", "last label is a number, but the whole is not an IP address"},
		{"a.1.", "", "last label is a number, but the whole is not an IP address"},
	} {
		if got, fault := normalize(tt.host); got != tt.want || fault != tt.fault {
			t.Errorf("normalize(%q) = %q, %q, want %q, %q", tt.host, got, fault, tt.want, tt.fault)
		}
	}
}

func TestNormalize_DoesNotAllocateForTheUsualName(t *testing.T) {
	var name string
	if got := testing.AllocsPerRun(100, func() { name, _ = normalize("www.example.com.") }); got != 0 || name != "www.example.com" {
		t.Errorf("%v allocations for %q, want none", got, name)
	}
}

func TestParseLiteral(t *testing.T) {
	for host, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "2001:DB8::1": "2001:db8::1", "::1": "::1", "fe80::1%eth0": "fe80::1%eth0", "::ffff:192.0.2.1": "::ffff:192.0.2.1",
		"": "", "a.test": "", "192.0.2": "", "192.0.2.1.": "", "192.0.2.01": "", "192.0.2.256": "", "[::1]": "", "a:b": "", "1.test": "",
	} {
		got, ok := parseLiteral(host)
		if ok != (want != "") || ok && got != netip.MustParseAddr(want) {
			t.Errorf("parseLiteral(%q) = %v, %v, want %q", host, got, ok, want)
		}
	}
}

func TestSpecial(t *testing.T) {
	for _, tt := range []struct {
		name   string
		addrs6 int
		addrs4 int
		ok     bool
	}{
		{"localhost", 1, 1, true},
		{"db.localhost", 1, 1, true},
		{"invalid", 0, 0, true},
		{"x.invalid", 0, 0, true},
		{"x.onion", 0, 0, true},
		{"localhost.test", 0, 0, false},
		{"notlocalhost", 0, 0, false},
		{"x.test", 0, 0, false},
	} {
		got, ok := special(tt.name)
		if ok != tt.ok || len(got[v6]) != tt.addrs6 || len(got[v4]) != tt.addrs4 {
			t.Errorf("special(%q) = %v, %v, want %d and %d addresses, %v", tt.name, got, ok, tt.addrs6, tt.addrs4, tt.ok)
		}
	}
}

var (
	label  = regexp.MustCompile(`^[A-Za-z0-9_-]{1,63}$`)
	number = regexp.MustCompile(`^([0-9]+|0[xX][0-9A-Fa-f]*)$`)
)

// slowNormalize is normalize as the RFCs put it.
func slowNormalize(host string) (name string, ok bool) {
	if strings.ContainsFunc(host, func(r rune) bool { return r > 'z' }) { // or invalid
		ascii, err := idna.Lookup.ToASCII(host)
		if err != nil || !utf8.ValidString(host) || len(host) > 1012 {
			return "", false
		}
		host = ascii
	}
	host = strings.TrimSuffix(host, ".")
	if len(host) < 1 || len(host) > 253 {
		return "", false
	}
	labels := strings.Split(host, ".")
	for _, l := range labels {
		if !label.MatchString(l) {
			return "", false
		}
	}
	if number.MatchString(labels[len(labels)-1]) {
		return "", false
	}
	return strings.ToLower(host), true
}

func FuzzNormalize(f *testing.F) {
	for _, s := range []string{"a.test", "A.TEST.", "a..b", ".", "127.1", "0x7f.0x", "\u212A.test", strings.Repeat("a.", 127), strings.Repeat("a", 64) + ".b", "a\n", "bücher.test", "例え。テスト", "\xff.test", strings.Repeat("例", 100) + ".test"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, host string) {
		got, fault := normalize(host)
		want, ok := slowNormalize(host)
		if got != want || (fault == "") != ok {
			t.Errorf("normalize(%q) = %q, %q, want %q, %v", host, got, fault, want, ok)
		}
		if fault != "" {
			return
		}
		if again, fault := normalize(got); again != got || fault != "" {
			t.Errorf("normalize(%q) = %q, but of that %q, %q", host, got, again, fault)
		}
		checkQuery(t, got, v6, true)
	})
}
