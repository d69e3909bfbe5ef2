package hostwisecolly_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/gocolly/colly/v2"
	hostwisecolly "github.com/hostwise-go/hostwise/colly"
	"github.com/hostwise-go/hostwise/transport"
)

func ExampleAttach() {
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "a page") }))
	defer site.Close()
	t, err := transport.New(nil, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer t.Close()
	c := colly.NewCollector()
	h, err := hostwisecolly.Attach(c, t)
	if err != nil {
		fmt.Println(err)
		return
	}
	c.OnResponse(func(r *colly.Response) { fmt.Println(string(r.Body)) })
	h.OnFailure(func(f hostwisecolly.Failure) { fmt.Println(f.Kind) })

	c.Visit(site.URL)
	c.Visit("http://no-such-name.invalid/")
	// Output:
	// a page
	// dns_nxdomain
}
