// Command client puts hostwise under an ordinary http.Client. It runs
// offline, on a small internet of its own.
package main

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/loopnet"
	"github.com/hostwise-go/hostwise/transport"
)

func main() {
	if err := run(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(out io.Writer) (err error) {
	inet, err := loopnet.Start(&loopnet.Options{Hosts: map[loopnet.Fate]int{
		loopnet.Healthy: 2, loopnet.HTTPS: 1, loopnet.DeadFirst: 1,
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, inet.Close()) }()

	// Any http.Client will do; this one trusts the certificates of our
	// internet, which no proxy knows.
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.TLSClientConfig = &tls.Config{RootCAs: inet.RootCAs()}
	base.Proxy = nil
	client := &http.Client{Transport: base, Timeout: 10 * time.Second}

	// On the real Internet two lines are enough:
	//	t, err := transport.Wrap(client, nil)
	//	defer t.Close()
	// Here the nameserver is ours too.
	resolver, err := dnscache.New(&dnscache.Options{Servers: []string{inet.DNSAddr()}, HostsFile: os.DevNull})
	if err != nil {
		return err
	}
	defer resolver.Close()
	t, err := transport.Wrap(client, &transport.Options{Resolver: resolver})
	if err != nil {
		return err
	}
	defer t.Close()

	for _, visit := range []string{"first", "later"} {
		for _, h := range inet.Hosts() {
			for _, page := range h.Pages[:2] {
				begin := time.Now()
				res, err := client.Get(page)
				if err != nil {
					return err
				}
				n, err := io.Copy(io.Discard, res.Body)
				res.Body.Close()
				if err != nil {
					return err
				}
				fmt.Fprintf(out, "%s  %s %s  %-10s  %3d bytes in %3d ms  %s\n",
					visit, res.Status, res.Proto, h.Fate, n, time.Since(begin).Milliseconds(), page)
			}
		}
		// As if the next visit came when the servers have hung up: names and
		// addresses are still known.
		client.CloseIdleConnections()
	}
	names, web := resolver.Stats(), t.Stats()
	fmt.Fprintf(out, "%d requests on %d connections, %d DNS queries, %d lookups answered from memory\n",
		web.Requests, web.Dials, names.Queries, names.Hits+names.NegativeHits)
	return nil
}
