package result

import (
	"fmt"
	"math"
	"strings"
)

// Order is the attempts, each with the time since the first: "6a@0 4a@250".
func (r *Result) Order() string {
	var s []string
	for _, a := range r.Attempts {
		s = append(s, fmt.Sprintf("%s@%.0f", a.Address, a.At-r.Attempts[0].At))
	}
	return strings.Join(s, " ")
}

// Addresses is the addresses of the attempts, in order.
func (r *Result) Addresses() string {
	var s []string
	for _, a := range r.Attempts {
		s = append(s, a.Address)
	}
	return strings.Join(s, " ")
}

// Series is the fetches, each with the family that won, or !, and the client's
// time: "4:251 4:1.2".
func (r *Result) Series() string {
	var s []string
	for _, f := range r.Fetches {
		family := ""
		switch {
		case !f.OK:
			family = "!"
		case f.Family != 0:
			family = fmt.Sprint(f.Family)
		}
		s = append(s, family+":"+Number(f.ClientMS))
	}
	return strings.Join(s, " ")
}

// Timeline is all of a result, for people.
func (r *Result) Timeline() string {
	var b strings.Builder
	fmt.Fprintf(&b, "== %s #%d wall=%.0f exit=%q\n", r.Scenario, r.Repetition, r.WallMS, r.Exit)
	for _, q := range r.Queries {
		fmt.Fprintf(&b, "   %8.2f dns h%d %-5s answer=%.2f %s n=%d\n", q.At, q.Host, q.Type, q.Answer, q.Rcode, q.Records)
	}
	for _, a := range r.Attempts {
		fmt.Fprintf(&b, "   %8.2f SYN %s x%d reply=%.2f up=%.2f fetch=%d\n", a.At, a.Address, a.SYNs, a.Reply, a.Up, a.Fetch)
	}
	for i, f := range r.Fetches {
		fmt.Fprintf(&b, "   fetch %d ok=%v win=%s ttfb=%.1f client=%.1f class=%s syn6=%d syn4=%d up=%d\n",
			i, f.OK, f.Winner, f.FirstByte, f.ClientMS, f.Class, f.SYN6, f.SYN4, f.Up)
	}
	if out := strings.TrimSpace(r.Output); out != "" {
		fmt.Fprintf(&b, "   out: %s\n", strings.ReplaceAll(out, "\n", " | "))
	}
	return b.String()
}

// Number is a figure in a table; there is none for NaN and [Never].
func Number(v float64) string {
	switch {
	case math.IsNaN(v) || v < 0:
		return "-"
	case v < 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.0f", v)
}
