package dnscache

import (
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// recheck is how often a file is looked at for a change; the value is that of
// package net.
const recheck = 5 * time.Second

// A watchedFile is a file whose text is wanted again when it changes.
type watchedFile struct {
	path string
	due  atomic.Int64 // time of the next look at the file, on the resolver's clock

	mu    sync.Mutex // one look at a time; protects what follows
	seen  bool
	mtime time.Time
	size  int64
}

func (w *watchedFile) isDue(now int64) bool { return now >= w.due.Load() }

// look returns the file's text if it has changed since the last look, or this
// is the first. The text of a file that is not there is empty. One that cannot
// be read, for want of a descriptor perhaps, has not changed yet.
func (w *watchedFile) look(now int64) (text string, changed bool) {
	if !w.mu.TryLock() {
		return "", false // somebody else looks
	}
	defer w.mu.Unlock()
	if !w.changed(now) {
		return "", false
	}
	return w.read()
}

// changed reports whether the file is another than at the last look. w.mu is
// held.
func (w *watchedFile) changed(now int64) bool {
	w.due.Store(now + int64(recheck))
	var mtime time.Time
	size := int64(-1)
	st, err := os.Stat(w.path)
	if err == nil && st.Mode().IsRegular() {
		mtime, size = st.ModTime(), st.Size()
	}
	if w.seen && size == w.size && mtime.Equal(w.mtime) {
		return false
	}
	w.seen, w.mtime, w.size = true, mtime, size
	return true
}

// read returns the file's text, and whether it could be read. w.mu is held.
func (w *watchedFile) read() (text string, ok bool) {
	if w.size < 0 {
		return "", true
	}
	b, err := os.ReadFile(w.path)
	if err != nil {
		w.size = -2 // so that it is looked at again
	}
	return string(b), err == nil
}
