// Command errors shows what hostwise says of each way a host can be broken,
// and what a program can do with it. It runs offline, on a small internet of
// its own.
package main

import (
	"cmp"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"text/tabwriter"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/loopnet"
	"github.com/hostwise-go/hostwise/transport"
)

func main() {
	if err := run(os.Stdout); err != nil {
		log.Fatal(err)
	}
}

// explain tells the errors of hostwise apart.
func explain(err error) string {
	var (
		noName   *hostwise.DNSError
		noConn   *hostwise.ConnectError
		noTLS    *hostwise.TLSError
		noAnswer *hostwise.RequestError
		down     *hostwise.HostDownError
		denied   *hostwise.DeniedError
	)
	switch {
	case errors.As(err, &noName):
		return fmt.Sprintf("%s does not resolve", noName.Host)
	case errors.As(err, &noConn):
		return fmt.Sprintf("no connection to %s, addresses tried: %d", noConn.Host, len(noConn.Attempts))
	case errors.As(err, &noTLS):
		return fmt.Sprintf("connected to %s, and the handshake failed", noTLS.Addr)
	case errors.As(err, &noAnswer):
		return fmt.Sprintf("connected to %s, and no answer", noAnswer.Addr)
	case errors.As(err, &down):
		return fmt.Sprintf("not tried: down after %d failures, next try in %v", down.Failures, time.Until(down.RetryAt).Round(time.Second))
	case errors.As(err, &denied):
		return fmt.Sprintf("not tried: %s is %s", denied.Addr, denied.Rule)
	}
	return "not an error of hostwise"
}

func run(out io.Writer) (err error) {
	inet, err := loopnet.Start(nil) // one host of each fate
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, inet.Close()) }()

	// Short time-outs, since some of the hosts only ever time out.
	resolver, err := dnscache.New(&dnscache.Options{
		Servers: []string{inet.DNSAddr()}, HostsFile: os.DevNull, Timeout: 300 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	defer resolver.Close()
	base := http.DefaultTransport.(*http.Transport).Clone()
	base.TLSClientConfig = &tls.Config{RootCAs: inet.RootCAs()}
	base.Proxy = nil
	newClient := func(publicOnly bool) (*http.Client, *transport.Transport, error) {
		t, err := transport.New(base, &transport.Options{
			Resolver: resolver, PublicOnly: publicOnly,
			DialTimeout: 500 * time.Millisecond, ResponseHeaderTimeout: 500 * time.Millisecond,
		})
		return &http.Client{Transport: t, Timeout: 10 * time.Second}, t, err
	}
	client, t, err := newClient(false)
	if err != nil {
		return err
	}
	defer t.Close()

	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	defer tw.Flush()
	fmt.Fprintln(tw, "HOST\tKIND\tPHASE\tRETRY\tWHAT")
	show := func(host string, c *http.Client, url string) {
		res, err := c.Get(url)
		if err == nil {
			res.Body.Close()
			fmt.Fprintf(tw, "%s\t-\t-\t-\t%s\n", host, res.Status) // any status is an answer, not an error
			return
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%t\t%s\n", host, hostwise.KindOf(err), cmp.Or(hostwise.PhaseOf(err), "-"), hostwise.Retryable(err), explain(err))
	}
	for _, f := range loopnet.Fates() {
		if f.OK() && f != loopnet.Healthy {
			continue
		}
		for _, h := range inet.Hosts(f) {
			show(string(f), client, h.URL)
		}
	}

	// Hosts that keep failing are left alone for a while.
	refused := inet.Hosts(loopnet.Refused)[0]
	for range 5 {
		if res, err := client.Get(refused.URL); err == nil {
			res.Body.Close()
		}
	}
	show("refused, again", client, refused.URL)

	// A program that fetches what strangers name wants PublicOnly.
	guarded, g, err := newClient(true)
	if err != nil {
		return err
	}
	defer g.Close()
	show("healthy, guarded", guarded, inet.Hosts(loopnet.Healthy)[0].URL)
	return nil
}
