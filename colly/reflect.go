package hostwisecolly

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"

	"github.com/gocolly/colly/v2"
)

// This file looks at what Colly does not show.

// clientOf returns c's HTTP client: not valid if Colly has changed.
func clientOf(c *colly.Collector) reflect.Value {
	return field(field(reflect.ValueOf(c), "backend"), "Client")
}

// field returns a field of the struct that v points to.
func field(v reflect.Value, name string) reflect.Value {
	if v.Kind() != reflect.Pointer || v.IsNil() || v.Elem().Kind() != reflect.Struct {
		return reflect.Value{}
	}
	return v.Elem().FieldByName(name)
}

// transportOf looks at the transport of c's HTTP client: the zero Value if it
// has none. ok is false if Colly has changed.
func transportOf(c *colly.Collector) (t reflect.Value, ok bool) {
	v := field(clientOf(c), "Transport")
	if v.Kind() != reflect.Interface {
		return reflect.Value{}, false
	}
	return v.Elem(), true
}

// hasOnRequest reports whether c has an OnRequest callback.
func hasOnRequest(c *colly.Collector) bool {
	v := field(reflect.ValueOf(c), "requestCallbacks")
	return v.Kind() != reflect.Slice || v.Len() > 0
}

// mayServe reports whether c's transport is h's.
func (h *Handle) mayServe(c *colly.Collector) bool {
	shell := reflect.ValueOf(h.shell)
	t, ok := transportOf(c)
	return !ok || t.IsValid() && t.Type() == shell.Type() && t.Pointer() == shell.Pointer()
}

// keepsNothingFrom returns an error if c has a transport, which Attach would
// take out without a word, or a client that is not its own.
func (h *Handle) keepsNothingFrom(c *colly.Collector) error {
	if client := clientOf(c); client.Kind() == reflect.Pointer && client.Pointer() == reflect.ValueOf(http.DefaultClient).Pointer() {
		return errors.New("hostwisecolly: Attach would give its transport to http.DefaultClient; call SetClient with a client of the collector's own")
	}
	t, _ := transportOf(c)
	switch {
	case !t.IsValid() || t.Kind() == reflect.Pointer && t.IsNil():
		return nil
	case t.Type() != reflect.TypeFor[*http.Transport]():
		return fmt.Errorf("hostwisecolly: Attach would take out the collector's transport, a %v; WithTransport(nil) does so on purpose", t.Type())
	case t.Elem().FieldByName("DialContext").Pointer() == reflect.ValueOf(h.dial).Pointer():
		return errors.New("hostwisecolly: the collector is attached already; for a clone use AttachClone")
	case !t.Elem().FieldByName("Proxy").IsNil():
		return errors.New("hostwisecolly: Attach would take out the collector's proxy; call SetProxy and SetProxyFunc after it")
	}
	return errors.New("hostwisecolly: Attach would take out the collector's *http.Transport; " +
		"give it to transport.New as the base, and call WithTransport(nil) before Attach")
}
