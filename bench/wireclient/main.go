// Command wireclient is hostwise as the ruler ../wire measures it: it fetches
// the URLs given as arguments, each over a connection of its own, and prints
// one line for each as it finishes:
//
//	OK <ms> <status> <the address that answered>
//	ERR <class> <ms> <message>
//
// The environment says how, see README.md of ../wire for the contract:
//
//	WIRE_TIMEOUT        seconds for each fetch; default 15
//	WIRE_GAP_MS         milliseconds between the starts of two fetches, or from
//	                    the end of one to the start of the next; default 0
//	WIRE_CONCURRENCY    fetches at a time; default 1
//	WIRE_DNS_LIST       nameservers, as a comma list of address:port
//	WIRE_DNS, WIRE_DNS6 one nameserver each, if there is no list
//	WIRE_INSECURE       not empty: any certificate will do
//
// Without nameservers, those of resolv.conf are asked.
package main

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/transport"
)

func main() {
	if err := run(os.Args[1:], os.Getenv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "wireclient:", err)
		os.Exit(1)
	}
}

func run(urls []string, getenv func(string) string, out io.Writer) error {
	s, err := readSettings(getenv)
	if err != nil {
		return err
	}
	resolver, err := dnscache.New(&dnscache.Options{Servers: s.nameservers})
	if err != nil {
		return err
	}
	defer resolver.Close()
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.DisableKeepAlives = true
	if s.insecure {
		base.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	t, err := transport.New(base, &transport.Options{Resolver: resolver})
	if err != nil {
		return err
	}
	defer t.Close()
	fetchAll(&http.Client{Transport: t, Timeout: s.timeout}, urls, s, out)
	return nil
}

// fetchAll prints a line for each URL, in the order in which they finish.
func fetchAll(c *http.Client, urls []string, s *settings, out io.Writer) {
	var lines sync.Mutex // protects out
	var all sync.WaitGroup
	free := make(chan struct{}, s.concurrency)
	for i, url := range urls {
		free <- struct{}{}
		if i > 0 {
			time.Sleep(s.gap)
		}
		all.Go(func() {
			defer func() { <-free }()
			line := fetch(c, url)
			lines.Lock()
			defer lines.Unlock()
			fmt.Fprintln(out, line)
		})
	}
	all.Wait()
}

// fetch times a request from its start to the response headers.
func fetch(c *http.Client, url string) (line string) {
	start := time.Now()
	resp, err := c.Get(url)
	took := float64(time.Since(start).Microseconds()) / 1000
	if err != nil {
		return fmt.Sprintf("ERR %s %.1f %s", class(err), took, strings.ReplaceAll(err.Error(), "\n", " "))
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return fmt.Sprintf("OK %.1f %d %s", took, resp.StatusCode, resp.Header.Get("X-He-Addr"))
}

// class is a Kind in the ruler's words, which begin with dns, connect or tls
// as hostwise's own do.
func class(err error) string {
	switch k := hostwise.KindOf(err); k {
	case hostwise.DNSNXDomain, hostwise.DNSNoData:
		return "dns-notfound"
	case hostwise.HTTPHeaderTimeout, hostwise.HTTPBodyTimeout, hostwise.Deadline:
		return "timeout"
	default:
		return strings.ReplaceAll(string(k), "_", "-")
	}
}
