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
