package happyeyeballs

import "container/list"

// lru is a map of bounded size: the entry not used for the longest time makes
// room.
type lru[K comparable, V any] struct {
	max   int
	index map[K]*list.Element
	order list.List // of *lruEntry, the last used first
}

type lruEntry[K comparable, V any] struct {
	key   K
	value V
}

func newLRU[K comparable, V any](most int) *lru[K, V] {
	return &lru[K, V]{max: most, index: map[K]*list.Element{}}
}

// get returns the value of k, or nil.
func (l *lru[K, V]) get(k K) *V {
	e := l.index[k]
	if e == nil {
		return nil
	}
	l.order.MoveToFront(e)
	return &e.Value.(*lruEntry[K, V]).value
}

// make returns the value of k, a zero one if there was none.
func (l *lru[K, V]) make(k K) *V {
	if v := l.get(k); v != nil {
		return v
	}
	if len(l.index) >= l.max {
		delete(l.index, l.order.Remove(l.order.Back()).(*lruEntry[K, V]).key)
	}
	e := &lruEntry[K, V]{key: k}
	l.index[k] = l.order.PushFront(e)
	return &e.value
}
