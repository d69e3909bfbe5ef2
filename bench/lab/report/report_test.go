package report

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/hostwise-go/hostwise/bench/lab/crawl"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

func TestDistribution_NearestRank(t *testing.T) {
	var values []float64
	for i := 200; i > 0; i-- {
		values = append(values, float64(i))
	}
	want := Dist{N: 200, Mean: 100.5, P50: 100, P90: 180, P99: 198, Max: 200}
	if got := distribution(values); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	want = Dist{N: 1, Mean: 3, P50: 3, P90: 3, P99: 3, Max: 3}
	if got := distribution([]float64{3}); got != want {
		t.Errorf("of one value: got %+v, want %+v", got, want)
	}
	if got := distribution(nil); got != (Dist{}) {
		t.Errorf("of none: got %+v", got)
	}
}

func webWorld(t *testing.T) *world.World {
	t.Helper()
	w, err := world.New(world.Scenarios()["web"], 1)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// perfect is the result of a client that reaches the floor of every URL, one
// after the other, and tells the truth about every host.
func perfect(w *world.World) *crawl.Result {
	truth := map[world.Fate]crawl.Kind{
		world.OK:         crawl.OK,
		world.NXDomain:   crawl.NXDomain,
		world.ServFail:   crawl.ServFail,
		world.DNSTimeout: crawl.DNSTimeout,
		world.Dead:       crawl.ConnectTimeout,
		world.Refused:    crawl.Refused,
		world.Mute:       crawl.HTTPTimeout,
	}
	r := &crawl.Result{Client: "perfect"}
	visited := map[int32]bool{}
	now := 0.0
	for k, i := range w.Work {
		dns, connect, server := w.Floor(k, !visited[i])
		visited[i] = true
		ttfb := milliseconds(dns + connect + server)
		r.Rows = append(r.Rows, crawl.Row{URL: k, Start: now, TTFB: ttfb, Total: ttfb, Kind: truth[w.Hosts[i].Fate]})
		now += ttfb
	}
	r.Wall = now / 1000
	return r
}

func TestAggregate_PerfectClient(t *testing.T) {
	w := webWorld(t)
	r := Aggregate(w, perfect(w), world.Stats{QueriesA: 900, QueriesAAAA: 700, QueriesOther: 6, SYN: 2000})
	if r.HostsHit != 803 || r.HealthyURLs != 3869 || r.BadURLs != 131 {
		t.Errorf("hosts, healthy URLs, bad URLs: got %d, %d, %d, want 803, 3869, 131", r.HostsHit, r.HealthyURLs, r.BadURLs)
	}
	if r.Lost != 0 || r.Unfinished != 0 || r.LostOnPages != 0 {
		t.Errorf("lost: got %d pages, %d unfinished, %v s, want none", r.Lost, r.Unfinished, r.LostOnPages)
	}
	if r.FamilyRight != 1 || r.KindRight != 1 {
		t.Errorf("right: got families %v, kinds %v, want all", r.FamilyRight, r.KindRight)
	}
	if e := r.Excess; math.Abs(e.Max) > 0.002 || math.Abs(e.Mean) > 0.002 {
		t.Errorf("excess over the floor: got %+v, want 0", e)
	}
	if r.Cold.N+r.Warm.N != r.TTFB.N || r.ExcessCold.N != r.Cold.N {
		t.Errorf("pages: got %d, of which %d cold and %d warm", r.TTFB.N, r.Cold.N, r.Warm.N)
	}
	if r.Queries != 1606 || r.QueriesPerHost != 2 || r.Connects != 2000 || r.ConnectsPerURL != 0.5 {
		t.Errorf("traffic: got %d queries, %v a host, %d connects, %v a URL", r.Queries, r.QueriesPerHost, r.Connects, r.ConnectsPerURL)
	}
	if want := map[string]int{"refused": 8}; r.Confusion["refused"]["refused"] != 8 || len(r.Confusion["refused"]) != 1 {
		t.Errorf("reported for refusing hosts: got %v, want %v", r.Confusion["refused"], want)
	}
	if _, err := json.Marshal(r); err != nil {
		t.Error(err)
	}
}

func TestAggregate_CountsWhatWentWrong(t *testing.T) {
	w := webWorld(t)
	res := perfect(w)
	first := map[world.Fate]int{}
	for k, i := range w.Work {
		f := w.Hosts[i].Fate
		if _, ok := first[f]; !ok {
			first[f] = k
		}
	}
	res.Rows[first[world.OK]] = crawl.Row{URL: first[world.OK], Total: 5000, Kind: crawl.Timeout} // a lost page
	res.Rows[first[world.Dead]].Kind = crawl.DNSOther                                             // wrong family
	res.Rows[first[world.NXDomain]].Kind = crawl.DNSOther                                         // right family, wrong kind
	res.Rows[first[world.Refused]].Kind = crawl.CircuitOpen                                       // right: not tried is as good
	last := len(res.Rows) - 1
	res.Rows[last] = crawl.Row{} // never handed out
	r := Aggregate(w, res, world.Stats{})
	if r.Lost != 2 || r.Unfinished != 1 || r.LostOnPages != 5 {
		t.Errorf("lost: got %d pages, %d unfinished, %v s, want 2, 1, 5", r.Lost, r.Unfinished, r.LostOnPages)
	}
	if got, want := r.FamilyRight, 130.0/131; got != want {
		t.Errorf("families right: got %v, want %v", got, want)
	}
	if got, want := r.KindRight, 129.0/131; got != want {
		t.Errorf("kinds right: got %v, want %v", got, want)
	}
	want := crawl.Row{URL: last, Start: res.Wall * 1000, Kind: crawl.Unfinished}
	if got := res.Rows[last]; got != want {
		t.Errorf("row of the URL not handed out: got %+v, want %+v", got, want)
	}
	if r.Errors[crawl.Unfinished] != 1 || r.Errors[crawl.Timeout] != 1 || r.Errors[crawl.DNSOther] != 2 {
		t.Errorf("errors: got %v", r.Errors)
	}
}

func TestFloor_SecondURLWaitsForTheFirstOnesAnswer(t *testing.T) {
	const ms = time.Millisecond
	w := &world.World{
		Scenario: world.Scenario{ResolverRTT: [2]float64{8, 14}},
		Hosts:    []*world.Host{{ColdA: 92 * ms, RTT4: 40 * ms}},
		Work:     []int32{0, 0, 0},
	}
	rows := []crawl.Row{{Start: 1000}, {Start: 1030}, {Start: 1180}}
	tests := []struct {
		url  int
		want float64
	}{
		{0, 100 + 40 + 40}, // look-up, connection, answer
		{1, 70 + 40 + 40},  // the rest of that look-up, a connection of its own
		{2, 40},            // the first connection is free
	}
	for _, tt := range tests {
		if got := floor(w, tt.url, 0, rows); got != tt.want {
			t.Errorf("floor of URL %d: got %v, want %v", tt.url, got, tt.want)
		}
	}
}

func TestTable_MedianOverTheSeeds(t *testing.T) {
	at := func(client string, seed uint64, p50 float64) *Report {
		return &Report{Client: client, Seed: seed, TTFB: Dist{P50: p50}, Lost: int(seed)}
	}
	table := Table([]*Report{at("b", 1, 100), at("b", 2, 900), at("b", 3, 110), at("a", 1, 7), at("a", 2, 8)})
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) != 3 {
		t.Fatalf("got %d lines:\n%s", len(lines), table)
	}
	for i, want := range []string{"client TTFB50 p90", "b 110 0", "a 8 0"} { // 7.5 is printed as 8
		if got := strings.Join(strings.Fields(lines[i])[:3], " "); got != want {
			t.Errorf("line %d: got %q, want %q", i, got, want)
		}
	}
}

func TestRatios_OverTheSeedsThatBothHave(t *testing.T) {
	at := func(client string, seed uint64, p50 float64, lost int) *Report {
		return &Report{Client: client, Scenario: "web", Seed: seed, TTFB: Dist{P50: p50}, Lost: lost}
	}
	table := Ratios("own", []*Report{
		at("own", 1, 100, 0), at("own", 2, 300, 0), at("own", 3, 200, 0),
		at("other", 1, 200, 3),
		at("stranger", 9, 1, 1),
	})
	lines := strings.Split(strings.TrimSpace(table), "\n")
	if len(lines) != 3 {
		t.Fatalf("got %d lines:\n%s", len(lines), table)
	}
	for i, want := range []string{"web: own / TTFB50", "own 200", "other 0.50"} {
		if got := strings.Join(strings.Fields(lines[i]), " "); !strings.HasPrefix(got, want) {
			t.Errorf("line %d: got %q, want it to begin with %q", i, got, want)
		}
	}
	if got := Ratios("nobody", []*Report{at("own", 1, 1, 1)}); got != "" {
		t.Errorf("of a client without reports: got %q", got)
	}
}

func TestRatio(t *testing.T) {
	tests := []struct {
		a, b   float64
		itself bool
		want   string
	}{
		{5108, 5108, true, "5108"},
		{0.123456, 0.123456, true, "0.1235"},
		{1, 4, false, "0.25"},
		{0, 4, false, "0.00"},
		{0, 0, false, "="},
		{7, 0, false, "7/0"},
	}
	for _, tt := range tests {
		if got := ratio(tt.a, tt.b, tt.itself); got != tt.want {
			t.Errorf("ratio(%v, %v, %v): got %q, want %q", tt.a, tt.b, tt.itself, got, tt.want)
		}
	}
}
