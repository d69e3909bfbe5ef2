package hostwisecolly

import (
	"context"
	"fmt"
	"testing"
)

// The names of a long crawl take bounded memory.
func TestLinks_SeenIsBounded(t *testing.T) {
	l := &links{h: &Handle{life: context.Background()}, o: PrefetchOptions{Queue: 1 << 20}, seen: map[string]bool{}}
	last := ""
	for i := range maxSeen + 1000 {
		last = fmt.Sprintf("h%d.test", i)
		l.add(context.Background(), last)
	}
	if len(l.seen) > maxSeen || !l.seen[last] || len(l.queue) != maxSeen+1000 {
		t.Errorf("%d names are remembered, the latest: %v; %d are queued", len(l.seen), l.seen[last], len(l.queue))
	}
}
