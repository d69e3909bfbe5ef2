package report

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/hostwise-go/hostwise/bench/wire/result"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

// won is a fetch over an address, and lost is one that failed.
func won(address string, ms float64) result.Fetch {
	f := result.Fetch{OK: true, Winner: address, Family: int(address[0] - '0'), FirstByte: ms, ClientMS: ms, Up: 1}
	if f.Family == 6 {
		f.SYN6 = 1
	} else {
		f.SYN4 = 1
	}
	return f
}

func lost(class string, ms float64) result.Fetch {
	return result.Fetch{FirstByte: result.Never, ClientMS: ms, Class: class}
}

func fetched(f ...result.Fetch) *result.Result { return &result.Result{Fetches: f} }

// tried has attempts at addresses, each so many milliseconds after the first.
func tried(f result.Fetch, addresses string, ms ...float64) *result.Result {
	r := fetched(f)
	for i, a := range strings.Fields(addresses) {
		r.Attempts = append(r.Attempts, result.Attempt{Address: a, Family: int(a[0] - '0'), At: ms[i]})
	}
	return r
}

func asked(f result.Fetch, types ...string) *result.Result {
	r := fetched(f)
	for _, t := range types {
		r.Queries = append(r.Queries, result.Query{Type: t})
	}
	return r
}

// times is n fetches alike.
func times(n int, f result.Fetch) []result.Fetch { return slices.Repeat([]result.Fetch{f}, n) }

func series(parts ...[]result.Fetch) *result.Result { return fetched(slices.Concat(parts...)...) }

func withSYNs(f result.Fetch, v6, v4 int) result.Fetch {
	f.SYN6, f.SYN4 = v6, v4
	return f
}

const eight = "6a 4a 6b 4b 6c 4c 6d 4d"

// both has a result that meets each goal of a scenario, and one that misses.
var both = map[string]struct{ good, bad *result.Result }{
	"ok":                {asked(won("6a", 1), "AAAA", "A"), asked(won("6a", 1), "A", "AAAA")},
	"client-nov6":       {asked(won("4a", 1), "A"), asked(won("4a", 1), "A", "AAAA")},
	"v6-drop":           {tried(won("4a", 255), "6a 4a", 0, 251), tried(won("4a", 305), "6a 4a", 0, 301)},
	"v6-rst":            {fetched(won("4a", 12)), fetched(won("4a", 14))},
	"v6-rst-50":         {fetched(won("4a", 55)), fetched(won("6a", 55))},
	"v6-icmp":           {fetched(won("4a", 12)), fetched(lost("connect", 12))},
	"v4host-synloss":    {fetched(won("4a", 1030)), fetched(lost("timeout", 1030))},
	"v6a-v4-drop":       {fetched(won("6b", 505)), fetched(won("6b", 755))},
	"v4host-a-drop":     {fetched(won("4b", 255)), fetched(won("4b", 305))},
	"interlace-44":      {tried(lost("connect", 9), eight, 0, 1, 2, 3, 4, 5, 6, 7), tried(lost("connect", 9), "6a 6b 6c 6d 4a 4b 4c 4d", 0, 1, 2, 3, 4, 5, 6, 7)},
	"all-rst-44":        {tried(lost("connect", 9), eight, 0, 10, 20, 30, 40, 50, 60, 70), tried(lost("connect", 9), eight, 0, 10, 20, 30, 40, 50, 60, 69)},
	"aaaa-20":           {fetched(won("6a", 23)), fetched(won("4a", 3))},
	"aaaa-500":          {fetched(won("4a", 53)), fetched(won("6a", 503))},
	"aaaa-2000":         {fetched(won("4a", 53)), fetched(won("6a", 2003))},
	"aaaa-timeout":      {fetched(won("4a", 53)), fetched(won("4a", 10003))},
	"aaaa-servfail":     {fetched(won("4a", 3)), fetched(won("4a", 53))},
	"aaaa-nxdomain":     {fetched(won("4a", 3)), fetched(lost("dns-notfound", 1))},
	"a-100-aaaa-120":    {fetched(won("6a", 123)), fetched(won("4a", 103))},
	"a-2000":            {fetched(won("6a", 3)), fetched(won("6a", 2003))},
	"a-timeout":         {fetched(won("6a", 3)), fetched(won("6a", 53))},
	"aaaa-500-v4-drop":  {fetched(won("6a", 505)), fetched(won("6a", 705))},
	"a-lost-once":       {fetched(won("4a", 405)), fetched(won("6a", 5005))},
	"ns-first-dead":     {fetched(won("6a", 405)), fetched(won("6a", 5005))},
	"mem-ns-first-dead": {series(times(1, won("6a", 405)), times(5, won("6a", 5))), series(times(6, won("6a", 405)))},
	"dns-all-timeout":   {fetched(lost("dns-timeout", 4005)), fetched(lost("dns-timeout", 8005))},
	"dns-all-servfail":  {fetched(lost("dns-servfail", 5)), fetched(lost("other", 5))},
	"nxdomain":          {fetched(lost("dns-notfound", 5)), fetched(lost("dns", 5))},
	"all-drop-11":       {fetched(lost("connect-timeout", 10005)), fetched(lost("timeout", 10005))},
	"tls-v6-stall":      {fetched(won("4a", 255)), fetched(lost("tls-timeout", 10005))},
	"mem-same-v6-drop":  {series(times(1, won("4a", 255)), times(5, won("4a", 5))), series(times(2, won("4a", 255)), times(4, won("4a", 5)))},
	"mem-hosts-v6-drop": {series(times(4, withSYNs(won("4a", 255), 1, 1)), times(8, won("4a", 5))), series(times(12, withSYNs(won("4a", 255), 1, 1)))},
	"mem-recover":       {series(times(12, won("4a", 5)), times(12, won("6a", 5))), series(times(15, won("4a", 5)), times(9, won("6a", 5)))},
	"mem-rtt-far":       {series(times(1, withSYNs(won("6a", 605), 1, 1)), times(4, won("6a", 605))), series(times(5, withSYNs(won("6a", 605), 1, 1)))},
	"conc-same-far":     {series(times(7, won("6a", 805)), times(1, withSYNs(won("6a", 805), 1, 1))), series(times(8, withSYNs(won("6a", 805), 1, 1)))},
	"v6-slow-400":       {fetched(won("4a", 255)), series(times(2, won("4a", 255)))},
}

func reportOf(pick func(name string) []*result.Result) *Report {
	r := new(Report)
	for name := range both {
		for i, x := range pick(name) {
			x := *x
			x.Scenario, x.Repetition = name, i
			r.Results = append(r.Results, &x)
		}
	}
	return r
}

func TestGoals_AreThirtySixOfKnownScenarios(t *testing.T) {
	goals := Goals()
	if len(goals) != 36 {
		t.Errorf("goals: got %d; when one comes or goes, say so in README.md", len(goals))
	}
	for _, g := range goals {
		if !slices.ContainsFunc(scenario.All(), func(s scenario.Scenario) bool { return s.Name == g.Scenario }) {
			t.Errorf("%s: no such scenario", g.Scenario)
		}
		if _, ok := both[g.Scenario]; !ok {
			t.Errorf("%s: not tested here", g.Scenario)
		}
	}
}

func TestJudge_TellsGoodFromBad(t *testing.T) {
	good := reportOf(func(name string) []*result.Result { return slices.Repeat([]*result.Result{both[name].good}, 3) })
	for _, v := range good.Judge() {
		if !v.OK {
			t.Errorf("%s, %s: falls short with %s", v.Scenario, v.Want, v.Got)
		}
	}
	bad := reportOf(func(name string) []*result.Result { return slices.Repeat([]*result.Result{both[name].bad}, 3) })
	for _, v := range bad.Judge() {
		if v.OK {
			t.Errorf("%s, %s: is met with %s", v.Scenario, v.Want, v.Got)
		}
	}
	if got := len(bad.Judge()); got != 36 {
		t.Errorf("verdicts: got %d, want 36", got)
	}
}

func TestJudge_TakesTheMedianOfTimesButTheWorstOfFailures(t *testing.T) {
	for _, tt := range []struct {
		name string
		last *result.Result
		want bool
	}{
		{"v6-rst", fetched(won("4a", 500)), true},
		{"v6-rst", fetched(lost("connect", 12)), false},
		{"v6-drop", tried(won("4a", 500), "6a 4a", 0, 500), true},
		{"v6-drop", tried(won("6a", 1), "6a", 0), false},
		{"mem-same-v6-drop", series(times(6, won("4a", 255))), false},
	} {
		r := reportOf(func(name string) []*result.Result {
			if name != tt.name {
				return nil
			}
			return []*result.Result{both[name].good, both[name].good, tt.last}
		})
		for _, v := range r.Judge() {
			if v.OK != tt.want {
				t.Errorf("%s, %s: got %v with %s", v.Scenario, v.Want, v.OK, v.Got)
			}
		}
	}
}

func TestJudge_SkipsWhatWasNotMeasured(t *testing.T) {
	r := &Report{Results: []*result.Result{{Scenario: "v6-rst"}}} // without a fetch
	verdicts := r.Judge()
	if len(verdicts) != 1 || verdicts[0].OK || verdicts[0].Got != "no fetch" {
		t.Errorf("got %+v", verdicts)
	}
}

func TestWriteGoals_OneLineEach(t *testing.T) {
	var b bytes.Buffer
	short := WriteGoals(&b, []Verdict{
		{Goal{Scenario: "v6-rst", Want: "within 13 ms"}, "v4a 12.0 ms", true},
		{Goal{Scenario: "v6-icmp", Want: "within 13 ms"}, "v4a 14.0 ms", false},
	})
	want := "ok    v6-rst             within 13 ms                                               v4a 12.0 ms\n" +
		"SHORT v6-icmp            within 13 ms                                               v4a 14.0 ms\n"
	if b.String() != want || short != 1 {
		t.Errorf("got %d short\n%swant 1\n%s", short, b.String(), want)
	}
}
