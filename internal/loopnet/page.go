package loopnet

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// ServeHTTP answers, or fails to, as the host's Fate says.
func (s *site) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.net.requests.Add(1)
	switch s.Fate {
	case Closed:
		panic(http.ErrAbortHandler)
	case Mute:
		select {
		case <-r.Context().Done():
		case <-s.net.done:
		}
		panic(http.ErrAbortHandler)
	case SlowHeader:
		s.wait(r, s.net.opt.SlowHeader)
	default:
		s.wait(r, s.think)
	}
	if s.closes && r.ProtoMajor == 1 {
		w.Header().Set("Connection", "close")
	}
	i, ok := s.page(r.URL.Path)
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	s.write(w, i)
}

// page returns the number of the page at a path.
func (s *site) page(path string) (int, bool) {
	if path == "/" {
		return 0, true
	}
	i, err := strconv.Atoi(strings.TrimPrefix(path, "/"))
	return i, err == nil && i > 0 && i < len(s.Pages) && path == "/"+strconv.Itoa(i)
}

func (s *site) write(w http.ResponseWriter, page int) {
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=\"en\"><head><title>%s, page %d</title></head>\n<body>\n", s.Name, page)
	if page == 0 {
		for i := 1; i < len(s.Pages); i++ {
			fmt.Fprintf(w, "<p><a href=\"/%d\">Page %d</a></p>\n", i, i)
		}
	} else {
		fmt.Fprint(w, "<p><a href=\"/\">Home</a></p>\n")
	}
	for i := range 4 + s.index%16 {
		fmt.Fprintf(w, "<p>Paragraph %d of page %d of %s, which a crawler may read at its leisure.</p>\n", i+1, page, s.Name)
	}
	fmt.Fprint(w, "</body></html>\n")
}

// wait lasts d, or until there is nobody left to wait for.
func (s *site) wait(r *http.Request, d time.Duration) {
	select {
	case <-time.After(d):
	case <-r.Context().Done():
	case <-s.net.done:
	}
}
