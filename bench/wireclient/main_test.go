package main

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise"
	"github.com/hostwise-go/hostwise/bench/wire/contract"
)

func TestClass_InTheWordsOfTheContract(t *testing.T) {
	for kind, want := range map[hostwise.Kind]string{
		hostwise.DNSNXDomain:       "dns-notfound",
		hostwise.DNSNoData:         "dns-notfound",
		hostwise.DNSTimeout:        "dns-timeout",
		hostwise.DNSServFail:       "dns-servfail",
		hostwise.ConnectTimeout:    "connect-timeout",
		hostwise.TLSUnknownCA:      "tls-unknown-ca",
		hostwise.HTTPHeaderTimeout: "timeout",
	} {
		if got := class(&hostwise.RequestError{Kind: kind}); got != want {
			t.Errorf("%s: got %q, want %q", kind, got, want)
		}
	}
}

func TestNewClient_MakesAConnectionForEachFetchAndTakesAnyCertificate(t *testing.T) {
	remotes := map[string]bool{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { remotes[r.RemoteAddr] = true }))
	defer server.Close()
	c, err := newClient(&contract.Settings{Nameservers: []string{"127.0.0.1:53"}, Insecure: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	client := &http.Client{Transport: c.Transport, Timeout: time.Minute}
	for range 3 {
		resp, err := client.Get(server.URL)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
	}
	if len(remotes) != 3 {
		t.Errorf("connections: got %d, want 3", len(remotes))
	}
}
