package transport

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/hostwise-go/hostwise/internal/hook"
)

// A body that net/http asks for again is looked after as the first one is.
func TestJourney_WatchesTheBodyThatIsSentAgain(t *testing.T) {
	body := func() io.ReadCloser { return io.NopCloser(io.MultiReader(strings.NewReader("a"))) }
	r, err := http.NewRequest("PUT", "http://a.test/", body())
	if err != nil {
		t.Fatal(err)
	}
	r.GetBody = func() (io.ReadCloser, error) { return body(), nil }
	j := &journey{Context: t.Context(), calls: new(hook.Group)}
	j.watch(r)
	first := j.body
	again, err := r.GetBody()
	if err != nil {
		t.Fatal(err)
	}
	if w, ok := again.(*requestBody); !ok || w != j.body || w == first || !w.guarded {
		t.Errorf("the second body is %#v, want one that is watched", again)
	}
}
