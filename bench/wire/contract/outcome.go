package contract

import (
	"fmt"
	"strconv"
	"strings"
)

// An Outcome is what became of a fetch. Its line is one of
//
//	OK <ms> <status> <anything>
//	ERR <class> <ms> <message>
type Outcome struct {
	OK     bool
	MS     float64 // from the call to the response headers, or to the error
	Status int     // of the response, if OK
	Class  string  // of the error, without spaces, if not OK
	Text   string  // for people
}

func (o Outcome) String() string {
	text := strings.Join(strings.Fields(o.Text), " ")
	if o.OK {
		return fmt.Sprintf("OK %.1f %d %s", o.MS, o.Status, text)
	}
	return fmt.Sprintf("ERR %s %.1f %s", o.Class, o.MS, text)
}

// ParseOutcome reads a line. Lines of any other form are not for us.
func ParseOutcome(line string) (o Outcome, ok bool) {
	word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch word {
	case "OK":
		o.OK = true
	case "ERR":
		o.Class, rest, _ = strings.Cut(strings.TrimLeft(rest, " "), " ")
	default:
		return Outcome{}, false
	}
	number, rest, _ := strings.Cut(strings.TrimLeft(rest, " "), " ")
	if number == "" {
		return Outcome{}, false
	}
	o.MS, _ = strconv.ParseFloat(number, 64)
	if o.OK {
		var status string
		status, rest, _ = strings.Cut(rest, " ")
		o.Status, _ = strconv.Atoi(status)
	}
	o.Text = rest
	return o, true
}
