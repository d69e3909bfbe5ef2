package result

import "math"

// A Result is what a client did in one run of a scenario.
type Result struct {
	Scenario   string    `json:"scenario"`
	Repetition int       `json:"repetition"`
	Queries    []Query   `json:"queries"`
	Attempts   []Attempt `json:"attempts"`
	Fetches    []Fetch   `json:"fetches"`
	WallMS     float64   `json:"wall_ms"`
	Exit       string    `json:"exit,omitempty"` // why the client's process failed
	Output     string    `json:"output"`         // the beginning of what it printed
}

// Never stands for a time at which nothing happened.
const Never = -1

// A Query is one that came to the nameserver.
type Query struct {
	Type    string  `json:"type"`
	At      float64 `json:"at"`
	Answer  float64 `json:"answer"` // or Never
	Rcode   string  `json:"rcode"`
	Records int     `json:"records"`
	TCP     bool    `json:"tcp"`
	Host    int     `json:"host"`
}

// An Attempt is a connection that the client tried to make.
type Attempt struct {
	Address string  `json:"address"` // 6a, 6b, 4a
	Family  int     `json:"family"`
	At      float64 `json:"at"`
	SYNs    int     `json:"syns"`  // with retransmissions
	Up      float64 `json:"up"`    // the handshake was complete, or Never
	Reply   float64 `json:"reply"` // the first packet back, be it SYN-ACK, RST or ICMP, or Never
	Fetch   int     `json:"fetch"`
}

// A Fetch is one URL.
type Fetch struct {
	OK        bool    `json:"ok"`
	Winner    string  `json:"winner"` // the address that was fetched from
	Family    int     `json:"family"` // ... and its family
	FirstByte float64 `json:"first_byte"`
	ClientMS  float64 `json:"client_ms"` // what the client printed
	Class     string  `json:"class"`     // of the error that it printed
	SYN6      int     `json:"syn6"`      // attempts of this fetch
	SYN4      int     `json:"syn4"`
	Up        int     `json:"up"` // handshakes that were completed
}

// AllOK reports whether every fetch succeeded.
func (r *Result) AllOK() bool {
	for _, f := range r.Fetches {
		if !f.OK {
			return false
		}
	}
	return len(r.Fetches) > 0
}

// QueriesOf counts the queries of a type.
func (r *Result) QueriesOf(queryType string) (n int) {
	for _, q := range r.Queries {
		if q.Type == queryType {
			n++
		}
	}
	return n
}

// SYN6, SYN4 and Up are the sums over all fetches.
func (r *Result) SYN6() int { return r.sum(func(f *Fetch) int { return f.SYN6 }) }
func (r *Result) SYN4() int { return r.sum(func(f *Fetch) int { return f.SYN4 }) }
func (r *Result) Up() int   { return r.sum(func(f *Fetch) int { return f.Up }) }

func (r *Result) sum(of func(*Fetch) int) (n int) {
	for i := range r.Fetches {
		n += of(&r.Fetches[i])
	}
	return n
}

// FirstAttempt is when the first connection of a family was tried, NaN if none
// was.
func (r *Result) FirstAttempt(family int) float64 {
	for _, a := range r.Attempts {
		if a.Family == family {
			return a.At
		}
	}
	return math.NaN()
}

// FirstReply is when the first attempt of a family that was answered was
// answered, or NaN.
func (r *Result) FirstReply(family int) float64 {
	for _, a := range r.Attempts {
		if a.Family == family && a.Reply >= 0 {
			return a.Reply
		}
	}
	return math.NaN()
}

// FirstAnswer is when the first query of a type that was answered was
// answered, or NaN.
func (r *Result) FirstAnswer(queryType string) float64 {
	for _, q := range r.Queries {
		if q.Type == queryType && q.Answer >= 0 {
			return q.Answer
		}
	}
	return math.NaN()
}
