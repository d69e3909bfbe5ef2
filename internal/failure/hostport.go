package failure

import (
	"net"
	"net/url"
	"strings"
)

// HostPort is the host:port that u leads to, in lower case, as errors name it.
func HostPort(u *url.URL) string {
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = "80"
		if u.Scheme == "https" {
			port = "443"
		}
	}
	if host = strings.ToLower(host); len(host)+len(":")+len(port) == len(u.Host) && host == u.Host[:len(host)] {
		return u.Host // as it should be, most often
	}
	return net.JoinHostPort(host, port)
}

// EndsInNumber reports whether name's last label is a decimal or hexadecimal
// number: a misspelt address then, and never a name (RFC 1123, section 2.1;
// the URL standard's "ends in a number").
func EndsInNumber(name string) bool {
	name = strings.TrimSuffix(name, ".")
	digits, hex := name[strings.LastIndexByte(name, '.')+1:], false
	if len(digits) >= 2 && digits[0] == '0' && digits[1]|0x20 == 'x' {
		digits, hex = digits[2:], true
	} else if digits == "" {
		return false
	}
	for i := 0; i < len(digits); i++ {
		c := digits[i]
		if isDigit := '0' <= c && c <= '9'; !isDigit && !(hex && 'a' <= c|0x20 && c|0x20 <= 'f') {
			return false
		}
	}
	return true
}
