package result

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/bench/internal/packet"
	"github.com/hostwise-go/hostwise/bench/wire/record"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

const (
	nonce = "1a2b"
	ms    = time.Millisecond
)

// tape records by hand. Times are milliseconds since start.
type tape struct {
	start time.Time
	record.Run
}

func newTape() *tape {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	return &tape{start: start, Run: record.Run{Nonce: nonce, Start: start.Add(-10 * ms), End: start.Add(time.Second)}}
}

func (t *tape) at(ms float64) time.Time {
	return t.start.Add(time.Duration(ms * float64(time.Millisecond)))
}

func name(host int) string { return fmt.Sprintf("h%d-%s.%s", host, nonce, scenario.Zone) }

func (t *tape) query(ms float64, host int, queryType string, answered float64) {
	q := record.Query{Name: name(host) + ".", Type: queryType, Asked: t.at(ms)}
	if answered >= 0 {
		q.Answered, q.Rcode, q.Records = t.at(answered), "NOERROR", 1
	}
	t.Queries = append(t.Queries, q)
}

// out and in are TCP packets from and to a client's port.
func (t *tape) out(ms float64, family, index int, port uint16, flags byte) {
	t.packet(ms, family, index, port, flags, 0, true)
}

func (t *tape) in(ms float64, family, index int, port uint16, flags byte, payload int) {
	t.packet(ms, family, index, port, flags, payload, false)
}

func (t *tape) packet(ms float64, family, index int, port uint16, flags byte, payload int, toServer bool) {
	t.Packets = append(t.Packets, record.Packet{
		At:         t.at(ms),
		ToServer:   toServer,
		Protocol:   packet.TCP,
		Server:     scenario.Server(family, index),
		ClientPort: port,
		ServerPort: 80,
		Flags:      flags,
		Payload:    payload,
	})
}

// page is a connection made at once, and a page fetched over it.
func (t *tape) page(ms float64, host, family, index int, port uint16) {
	t.out(ms, family, index, port, packet.SYN)
	t.in(ms+1, family, index, port, packet.SYN|packet.ACK, 0)
	t.out(ms+1.1, family, index, port, packet.ACK)
	t.Requests = append(t.Requests, record.Request{At: t.at(ms + 1.5), Host: name(host), Server: scenario.Server(family, index), ClientPort: port})
	t.in(ms+2, family, index, port, packet.ACK, 100)
	t.Output += fmt.Sprintf("OK %.1f 200 x\n", ms+3)
}

func TestAnalyze_DeadIPv6(t *testing.T) {
	x := newTape()
	x.query(0, 0, "AAAA", 1)
	x.query(0.5, 0, "A", 2.126)
	x.out(2, 6, 0, 1001, packet.SYN)
	x.page(252, 0, 4, 0, 1002)
	x.out(1002, 6, 0, 1001, packet.SYN) // the kernel tries again
	r := Analyze(&scenario.Scenario{Name: "v6-drop", Fetches: []int{0}}, &x.Run)
	want := &Result{
		Scenario: "v6-drop",
		Queries: []Query{
			{Type: "AAAA", Answer: 1, Rcode: "NOERROR", Records: 1},
			{Type: "A", At: 0.5, Answer: 2.13, Rcode: "NOERROR", Records: 1},
		},
		Attempts: []Attempt{
			{Address: "6a", Family: 6, At: 2, SYNs: 2, Up: Never, Reply: Never},
			{Address: "4a", Family: 4, At: 252, SYNs: 1, Up: 253.1, Reply: 253},
		},
		Fetches: []Fetch{{OK: true, Winner: "4a", Family: 4, FirstByte: 254, ClientMS: 255, SYN6: 1, SYN4: 1, Up: 1}},
		WallMS:  1010,
		Output:  "OK 255.0 200 x\n",
	}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got %+v\nwant %+v", r, want)
	}
	if got, want := r.Order(), "6a@0 4a@250"; got != want {
		t.Errorf("order: got %q, want %q", got, want)
	}
	if got := r.FirstAttempt(4) - r.FirstAttempt(6); got != 250 {
		t.Errorf("attempt delay: got %v, want 250", got)
	}
}

func TestAnalyze_ARefusalIsAReply(t *testing.T) {
	x := newTape()
	x.query(0, 0, "A", 1)
	x.out(1, 4, 0, 1001, packet.SYN)
	x.in(51, 4, 0, 1001, packet.RST, 0)
	x.Output = "ERR connect-refused 51.3 no\n"
	r := Analyze(&scenario.Scenario{Fetches: []int{0}}, &x.Run)
	if a := r.Attempts[0]; a.Reply != 51 || a.Up != Never {
		t.Errorf("got %+v, want a reply after 51 ms, and no connection", a)
	}
	want := Fetch{FirstByte: Never, ClientMS: 51.3, Class: "connect-refused", SYN4: 1}
	if got := r.Fetches[0]; got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestAnalyze_CountsEachAttemptForTheFetchUnderWay(t *testing.T) {
	x := newTape()
	x.query(0, 0, "A", 1)
	x.page(1, 0, 6, 0, 1001)
	x.out(100, 6, 1, 1002, packet.SYN) // the second fetch fails
	x.Output += "ERR connect-timeout 50.0 x\n"
	x.out(200, 6, 2, 1003, packet.SYN)
	x.page(210, 2, 4, 2, 1004)
	x.out(250, 6, 2, 1005, packet.SYN) // after all is fetched
	r := Analyze(&scenario.Scenario{Fetches: []int{0, 1, 2}}, &x.Run)
	var got []string
	for _, f := range r.Fetches {
		got = append(got, fmt.Sprintf("%v %s %d+%d", f.OK, f.Winner, f.SYN6, f.SYN4))
	}
	// Of a fetch that failed nobody sees the end: its attempts are the next one's.
	want := "true 6a 1+0, false  0+0, true 4c 3+1"
	if strings.Join(got, ", ") != want {
		t.Errorf("got %v, want %s", got, want)
	}
	if got, want := r.Series(), "6:4.0 !:50 4:213"; got != want {
		t.Errorf("series: got %q, want %q", got, want)
	}
	if r.AllOK() || r.SYN6() != 4 || r.SYN4() != 1 || r.Up() != 2 {
		t.Errorf("got all ok %v, %d+%d attempts, %d up", r.AllOK(), r.SYN6(), r.SYN4(), r.Up())
	}
}

func TestAnalyze_TLSAddsTheWayBack(t *testing.T) {
	x := newTape()
	x.query(0, 0, "A", 1)
	x.page(1, 0, 4, 0, 1001)
	for i := range x.Packets {
		x.Packets[i].ServerPort = 443
	}
	r := Analyze(&scenario.Scenario{
		TLS:     true,
		Fetches: []int{0},
		Network: func(_, _, _ int) scenario.Path { return scenario.Path{RTT: 40 * ms} },
	}, &x.Run)
	if got := r.Fetches[0].FirstByte; got != 42.5 {
		t.Errorf("first byte: got %v, want 42.5: the request and an RTT", got)
	}
}

func TestAnalyze_BeginsWithAQueryToADeadNameserver(t *testing.T) {
	x := newTape()
	x.query(0, 0, "A", 1)
	x.Packets = append(x.Packets, record.Packet{At: x.at(-400), ToServer: true, Protocol: packet.UDP, Server: scenario.DeadNameserver4, ServerPort: 53})
	r := Analyze(&scenario.Scenario{Fetches: []int{0}}, &x.Run)
	if got := r.Queries[0].At; got != 400 {
		t.Errorf("first query answered: got %v ms after the first one, want 400", got)
	}
}

// The nameserver handles each query in a goroutine of its own, and may see
// them in another order.
func TestAnalyze_QueriesAreInTheOrderOfTheirPackets(t *testing.T) {
	x := newTape()
	x.query(0.3, 0, "A", 0.4)
	x.query(0.35, 0, "AAAA", 0.45)
	for i, q := range []struct {
		at       float64
		question string
		port     uint16
	}{{0, "AAAA", 1000}, {0.05, "A", 1001}} {
		x.Queries[1-i].ClientPort = q.port
		x.Packets = append(x.Packets, record.Packet{At: x.at(q.at), ToServer: true, Protocol: packet.UDP, ClientPort: q.port, ServerPort: 53, Question: q.question})
	}
	r := Analyze(&scenario.Scenario{Fetches: []int{0}}, &x.Run)
	if len(r.Queries) != 2 || r.Queries[0].Type != "AAAA" || r.Queries[0].At != 0 || r.Queries[1].At != 0.05 {
		t.Errorf("got %+v, want AAAA at 0 and A at 0.05", r.Queries)
	}
}

func TestAnalyze_IgnoresWhatIsNotOfThisRun(t *testing.T) {
	x := newTape()
	x.Queries = append(x.Queries, record.Query{Name: "h0-older." + scenario.Zone + ".", Type: "A", Asked: x.at(-5)}, record.Query{Name: "example.", Type: "A", Asked: x.at(-5)})
	x.query(0, 0, "A", -1)
	x.in(1, 6, 0, 999, packet.ACK, 10) // of a connection that was made before
	x.Output = "a warning\nERR dns-timeout 4000.0 x\n"
	r := Analyze(&scenario.Scenario{Fetches: []int{0}}, &x.Run)
	if len(r.Queries) != 1 || len(r.Attempts) != 0 || r.Fetches[0].Class != "dns-timeout" {
		t.Errorf("got %+v", r)
	}
	if r.Queries[0].Answer != Never {
		t.Errorf("answer: got %v, want never", r.Queries[0].Answer)
	}
}

func TestAnalyze_AClientThatPrintsNothing(t *testing.T) {
	x := newTape()
	x.Exit, x.Errors = "exit status 127", "not found"
	r := Analyze(&scenario.Scenario{Fetches: []int{0, 0}}, &x.Run)
	if len(r.Fetches) != 2 || r.AllOK() || r.Exit == "" || !strings.Contains(r.Output, "not found") {
		t.Errorf("got %+v", r)
	}
	if !strings.Contains(r.Timeline(), "exit status 127") {
		t.Errorf("time line: got %s", r.Timeline())
	}
}
