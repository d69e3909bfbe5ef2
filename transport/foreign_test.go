package transport

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/hostwise-go/hostwise"
)

// A request gets the idle connection of another one, whose context ends at the
// same instant and closes it: net/http hands the other one's cause to it.
func TestJourney_ConnectionClosedByAnotherRequest(t *testing.T) {
	for _, cause := range []error{errGaveUp, context.Canceled, &net.OpError{Op: "read", Err: net.ErrClosed}} {
		j := &journey{Context: context.Background(), key: "a.test:80", reused: true}
		err, cut := j.explain(cause, snapshot{connected: true, reused: true, wrote: true})
		if cut || hostwise.KindOf(err) != hostwise.HTTPReset || hostwise.PhaseOf(err) != hostwise.PhaseRequest || !hostwise.Retryable(err) || !errors.Is(err, net.ErrClosed) || errors.Is(err, context.Canceled) {
			t.Errorf("%v: %v, kind %q, cut: %v, want kind %q, retryable", cause, err, hostwise.KindOf(err), cut, hostwise.HTTPReset)
		}
		if !isStale(err) {
			t.Errorf("%v: the host is charged", cause)
		}
		if !j.mayRepeat(http.MethodGet, cause) || j.mayRepeat(http.MethodPost, cause) {
			t.Errorf("%v: want GET repeated, and POST not", cause)
		}
	}

	// These are a request's own.
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	j := &journey{Context: ctx, key: "a.test:80", reused: true}
	if err, cut := j.explain(context.Canceled, snapshot{connected: true, reused: true}); !cut || hostwise.KindOf(err) != hostwise.Canceled || j.mayRepeat(http.MethodGet, context.Canceled) {
		t.Errorf("%v, cut: %v, want it canceled", err, cut)
	}
	j = &journey{Context: context.Background(), key: "a.test:80", reused: true}
	for _, err := range []error{fmt.Errorf("dial: %w", context.Canceled), errors.New("anything else")} {
		if j.mayRepeat(http.MethodGet, err) {
			t.Errorf("%v: repeated", err)
		}
	}
}
