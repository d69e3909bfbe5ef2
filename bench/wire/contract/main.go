package contract

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// AddressHeader is the response header in which the ruler's web servers say
// which address the request came to.
const AddressHeader = "X-Wire-Address"

// A Client is what fetches.
type Client struct {
	Transport http.RoundTripper
	Class     func(error) string // the class of an error: one word, see README.md
	Close     func()             // called at the end, unless it is nil
}

// Main is the main function of a client: it fetches the arguments, and prints
// a line for each as it finishes.
func Main(newClient func(*Settings) (*Client, error)) {
	if err := run(os.Args[1:], os.Getenv, os.Stdout, newClient); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(urls []string, getenv func(string) string, out io.Writer, newClient func(*Settings) (*Client, error)) error {
	s, err := readSettings(getenv)
	if err != nil {
		return err
	}
	c, err := newClient(s)
	if err != nil {
		return err
	}
	if c.Close != nil {
		defer c.Close()
	}
	var printing sync.Mutex // protects out
	var fetches sync.WaitGroup
	free := make(chan struct{}, s.Concurrency)
	httpClient := &http.Client{Transport: c.Transport, Timeout: s.Timeout}
	for i, url := range urls {
		free <- struct{}{}
		if i > 0 {
			time.Sleep(s.Gap)
		}
		fetches.Go(func() {
			defer func() { <-free }()
			o := fetch(httpClient, url, c.Class)
			printing.Lock()
			defer printing.Unlock()
			fmt.Fprintln(out, o)
		})
	}
	fetches.Wait()
	return nil
}

func fetch(c *http.Client, url string, class func(error) string) Outcome {
	start := time.Now()
	resp, err := c.Get(url)
	ms := time.Since(start).Seconds() * 1000
	if err != nil {
		return Outcome{MS: ms, Class: class(err), Text: err.Error()}
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return Outcome{OK: true, MS: ms, Status: resp.StatusCode, Text: resp.Header.Get(AddressHeader)}
}
