package retry_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/hostwise-go/hostwise"
)

// patience is how long a program is ready to wait for a host.
const patience = 10 * time.Second

// worthWaiting reports whether the same request may do better within the
// time that the program has.
func worthWaiting(ctx context.Context, err error) bool {
	return ctx.Err() == nil && hostwise.Retryable(err) && time.Until(hostwise.RetryAt(err)) < patience
}

// A host in its cool-down, or a name whose failure is cached, answers no
// sooner for being asked again: give up when RetryAt is too far away.
func Example_retryablehttp() {
	client := retryablehttp.NewClient()
	client.Logger = nil
	client.RetryWaitMin = time.Millisecond
	client.HTTPClient.Transport = newTransport()
	client.CheckRetry = func(ctx context.Context, resp *http.Response, err error) (bool, error) {
		if err != nil {
			return worthWaiting(ctx, err), nil
		}
		return retryablehttp.DefaultRetryPolicy(ctx, resp, err) // statuses
	}
	client.ErrorHandler = retryablehttp.PassthroughErrorHandler // keeps the error's type

	for _, url := range []string{"http://flaky.test/", "http://gone.test/", "http://down.test/"} {
		resp, err := client.Get(url)
		print(url, resp, err)
	}
	// Output:
	// http://flaky.test/: 200 OK at the 2nd attempt
	// http://gone.test/: dns_nxdomain at the 1st attempt
	// http://down.test/: host_down at the 1st attempt
}

// The same for failsafe-go, which can also wait until RetryAt.
func Example_failsafe() {
	policy := retrypolicy.NewBuilder[*http.Response]().
		HandleIf(func(_ *http.Response, err error) bool { return worthWaiting(context.Background(), err) }).
		WithDelayFunc(func(e failsafe.ExecutionAttempt[*http.Response]) time.Duration {
			return max(time.Millisecond, time.Until(hostwise.RetryAt(e.LastError())))
		}).
		ReturnLastFailure(). // keeps the error's type
		Build()
	client := &http.Client{Transport: failsafehttp.NewRoundTripper(newTransport(), policy)}

	for _, url := range []string{"http://flaky.test/", "http://gone.test/", "http://down.test/"} {
		resp, err := client.Get(url)
		print(url, resp, err)
	}
	// Output:
	// http://flaky.test/: 200 OK at the 2nd attempt
	// http://gone.test/: dns_nxdomain at the 1st attempt
	// http://down.test/: host_down at the 1st attempt
}

// newTransport stands for transport.New(nil, nil): flaky.test refuses the
// first connection, gone.test does not exist, down.test is in its cool-down.
func newTransport() http.RoundTripper { return &scripted{attempts: map[string]int{}} }

type scripted struct{ attempts map[string]int }

func (s *scripted) RoundTrip(r *http.Request) (*http.Response, error) {
	s.attempts[r.URL.Host]++
	n := s.attempts[r.URL.Host]
	switch {
	case r.URL.Host == "gone.test":
		return nil, counted{&hostwise.DNSError{Host: r.URL.Host, Kind: hostwise.DNSNXDomain}, n}
	case r.URL.Host == "down.test":
		return nil, counted{&hostwise.HostDownError{Host: "down.test:80", Kind: hostwise.HostDown, RetryAt: time.Now().Add(time.Minute)}, n}
	case n == 1:
		return nil, counted{&hostwise.ConnectError{Host: "flaky.test:80", Kind: hostwise.ConnectRefused}, n}
	}
	body := io.NopCloser(strings.NewReader(""))
	return &http.Response{Status: "200 OK", StatusCode: 200, Header: http.Header{"Attempt": {fmt.Sprint(n)}}, Body: body, Request: r}, nil
}

// counted says which attempt failed.
type counted struct {
	error
	attempt int
}

func (c counted) Unwrap() error { return c.error }

func print(url string, resp *http.Response, err error) {
	what, n := fmt.Sprint(hostwise.KindOf(err)), ""
	var c counted
	switch {
	case err == nil:
		what, n = resp.Status, resp.Header.Get("Attempt")
		resp.Body.Close()
	case errors.As(err, &c):
		n = fmt.Sprint(c.attempt)
	default:
		log.Fatal(err)
	}
	ordinal := map[string]string{"1": "1st", "2": "2nd"}[n]
	fmt.Printf("%s: %s at the %s attempt\n", url, what, ordinal)
}
