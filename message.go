package hostwise

import (
	"log/slog"
	"net/netip"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// The pieces that the six types' messages and trees are made of.

// isContext reports whether the Kind says only that the caller's context
// ended.
func (k Kind) isContext() bool { return k == Canceled || k == Deadline }

// text is the reason in a message: the Kind's words or, where the caller's
// own context ended the request or the Kind says nothing, those of the error.
func text(k Kind, err error) string {
	if err != nil && (k == Canceled || k == Other) {
		return err.Error()
	}
	return k.text()
}

// suffix is what err adds to the Kind's words.
func suffix(k Kind, err error) string {
	if err == nil || k.isContext() || k.Timeout() || k == Other || err.Error() == k.text() {
		return ""
	}
	return " (" + err.Error() + ")"
}

// maxForeign is how many bytes of another's text a message takes in.
const maxForeign = 200

// foreign is a text that somebody else has chosen: cut to a length, and quoted
// if it is not plain, so that it cannot pass for another line of a log.
func foreign(s string) string {
	if len(s) > maxForeign {
		n := maxForeign
		for n > 0 && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n] + "..."
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		return strconv.Quote(s)
	}
	return s
}

func at(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return " at " + a.String()
}

func addrString(a netip.AddrPort) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func plural(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

func withCause(err, cause error) []error {
	if cause == nil {
		return []error{err}
	}
	return []error{err, cause}
}

func attemptErrors(cause error, as []Attempt) []error {
	errs := make([]error, 0, len(as)+1)
	if cause != nil {
		errs = append(errs, cause)
	}
	for _, a := range as {
		if a.Err != nil {
			errs = append(errs, a.Err)
		}
	}
	return errs
}

func logValue(f failure, host string, more ...slog.Attr) slog.Value {
	attrs := []slog.Attr{
		slog.String("msg", f.Error()),
		slog.String("kind", string(f.kind())),
		slog.String("phase", string(f.phase())),
		slog.String("host", host),
	}
	if e := f.elapsed().String(); e != "" {
		attrs = append(attrs, slog.String("elapsed", e))
	}
	return slog.GroupValue(append(attrs, more...)...)
}
