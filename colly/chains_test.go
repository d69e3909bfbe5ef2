package hostwisecolly

import (
	"testing"

	"github.com/gocolly/colly/v2"
)

// What Colly never reports the end of takes bounded memory.
func TestChains_AreBounded(t *testing.T) {
	m := map[*colly.Request]*chain{}
	var last *colly.Request
	for range maxChains + 1000 {
		last = &colly.Request{}
		put(m, last, &chain{})
	}
	if len(m) != maxChains || m[last] == nil {
		t.Errorf("%d requests are remembered, the latest: %v; want %d with the latest", len(m), m[last] != nil, maxChains)
	}
}
