// Command colly is a Colly collector with all that hostwisecolly adds to it.
// It runs offline, on a small internet of its own.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"time"

	"github.com/gocolly/colly/v2"
	"github.com/hostwise-go/hostwise"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/dnscache"
	"github.com/hostwise-go/hostwise/internal/loopnet"
	"github.com/hostwise-go/hostwise/transport"
)

func main() {
	if err := run(context.Background(), os.Stdout); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, out io.Writer) (err error) {
	inet, err := loopnet.Start(&loopnet.Options{Hosts: map[loopnet.Fate]int{
		loopnet.Healthy: 12, loopnet.DeadFirst: 2, loopnet.NXDomain: 2, loopnet.Refused: 1, loopnet.Closed: 1,
	}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, inet.Close()) }()
	portal := httptest.NewServer(directory(inet)) // a page of links to all of it
	defer portal.Close()

	// On the real Internet, transport.New(nil, nil) is enough.
	resolver, err := dnscache.New(&dnscache.Options{Servers: []string{inet.DNSAddr()}, HostsFile: os.DevNull})
	if err != nil {
		return err
	}
	defer resolver.Close()
	t, err := transport.New(&http.Transport{}, &transport.Options{Resolver: resolver})
	if err != nil {
		return err
	}
	defer t.Close()

	c := colly.NewCollector(colly.Async(true), colly.StdlibContext(ctx))
	h, err := hostwisecolly.Attach(c, t)
	if err != nil {
		return err
	}
	defer h.Close()

	var mu sync.Mutex // callbacks of an Async collector run in parallel
	say := func(format string, args ...any) {
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintf(out, format+"\n", args...)
	}
	h.OnFailure(func(f hostwisecolly.Failure) { say("attempt failed  %-16s %s", f.Kind, f.Request.URL) })
	h.Retry(&hostwisecolly.RetryOptions{Max: 2, Delay: 100 * time.Millisecond, MaxDelay: 5 * time.Second, GaveUp: func(r *colly.Response, err error) {
		say("gave up         %-16s %s", hostwisecolly.Kind(r, err), r.Request.URL)
	}})
	h.SkipDeadHosts(func(r *colly.Request, down *hostwise.HostDownError) {
		say("skipped         %-16s %s for %v", down.Kind, r.URL, time.Until(down.RetryAt).Round(time.Second))
	})
	h.PrefetchLinks(nil)
	c.Limit(&colly.LimitRule{DomainGlob: "*", Parallelism: 2})
	c.OnHTML("a[href]", func(e *colly.HTMLElement) { e.Request.Visit(e.Attr("href")) })

	for _, p := range h.Prewarm(ctx, []string{inet.Hosts()[0].URL, "http://nobody.test/"}) {
		say("prewarmed       %-16s %s: %d addresses", cmp.Or(hostwise.KindOf(p.Err), "ok"), p.Host, p.Addrs)
	}
	if err := c.Visit(portal.URL); err != nil {
		return err
	}
	c.Wait()
	for _, host := range inet.Hosts(loopnet.Refused) { // down by now
		c.Visit(host.Pages[1])
	}
	c.Wait()

	s := h.Stats()
	say("%d requests, %d with a response, %d retries: %d pages recovered, %d given up, %d skipped", s.Requests, s.Responses, s.Retries, s.Recovered, s.GaveUp, s.Skipped)
	say("%d names prefetched, %d DNS queries, %d hosts down", s.Prefetched, resolver.Stats().Queries, t.Stats().HostsDown)
	return nil
}

// directory hangs up on the first request, to be asked again.
func directory(inet *loopnet.Internet) http.Handler {
	var first sync.Once
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first.Do(func() { panic(http.ErrAbortHandler) })
		w.Header().Set("Content-Type", "text/html")
		for _, host := range inet.Hosts() {
			fmt.Fprintf(w, "<a href=%q>%s</a>\n", host.URL, host.Name)
		}
	})
}
