package hook

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func TestCall(t *testing.T) {
	var g Group
	for _, tt := range []struct {
		name, want string
		f          func()
	}{
		{"returns", "", func() {}},
		{"panics", "has panicked: boom", func() { panic("boom") }},
		{"panics with nil", "has panicked: panic called with nil argument", func() { panic(nil) }},
		{"panics with what panics when printed", "PANIC=", func() { panic(badError{}) }},
		{"ends the goroutine", "has ended the goroutine", runtime.Goexit},
	} {
		before, _ := g.Count()
		err := g.Call(tt.f)
		after, first := g.Count()
		if tt.want == "" {
			if err != nil || after != before {
				t.Errorf("%s: %v", tt.name, err)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), tt.want) || !IsFault(err) || after != before+1 {
			t.Errorf("%s: %v, counted %d, want %q, counted %d", tt.name, err, after, tt.want, before+1)
		}
		if !strings.Contains(first, "boom") || !strings.Contains(first, "hook_test.go") {
			t.Errorf("%s: the first is %q", tt.name, first)
		}
	}
	if IsFault(errors.New("x")) {
		t.Error("any error is a Fault")
	}
}

type badError struct{}

func (badError) Error() string { panic("again") }

func TestQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var g Group
		q := Queue{Group: &g, Max: 3}
		var got []int
		stop := make(chan struct{})
		q.Add(func() { <-stop })
		synctest.Wait() // it is called
		for i := range 5 {
			q.Add(func() {
				got = append(got, i)
				switch i {
				case 0:
					panic("boom")
				case 1:
					runtime.Goexit()
				}
			})
		}
		start := time.Now()
		g.Wait(time.Second)
		if took := time.Since(start); took != time.Second {
			t.Errorf("Wait took %v", took)
		}
		close(stop)
		g.Wait(time.Second)
		n, _ := g.Count()
		if took := time.Since(start); took != time.Second || !slices.Equal(got, []int{0, 1, 2}) || q.Dropped() != 2 || n != 2 {
			t.Errorf("after %v: called %v, dropped %d, counted %d", took, got, q.Dropped(), n)
		}
	})
}
