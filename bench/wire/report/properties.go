package report

import (
	"fmt"
	"math"
	"strings"

	"github.com/hostwise-go/hostwise/bench/wire/result"
)

// none is a property of which nothing was measured.
const none = "-"

// property is a question about a client that one scenario answers.
type property struct {
	question string
	scenario string
	answer   func([]*result.Result) string
}

func (p property) of(r *Report) string {
	if results := r.of(p.scenario); len(results) > 0 {
		return p.answer(results)
	}
	return none
}

func properties() []property {
	return []property{
		{"IPv6 preferred when both work", "ok", first(func(r *result.Result) string { return yes(r.Fetches[0].Family == 6) })},
		{"DNS query order (gap)", "ok", first(queryOrder)},
		{"asks AAAA on a host without IPv6", "client-nov6", first(func(r *result.Result) string { return yes(r.QueriesOf("AAAA") > 0) })},
		{"CAD: v4 SYN after v6 SYN, v6 blackholed (ms)", "v6-drop", inTheMedian(attemptDelay)},
		{"RD: v4 SYN after A answer, AAAA 2 s late (ms)", "aaaa-2000", resolutionDelay},
		{"v6 kept when AAAA is 20 ms late", "aaaa-20", first(func(r *result.Result) string { return yes(r.Fetches[0].Family == 6) })},
		{"RD counts from the A answer (A 100 ms, AAAA 120 ms): winner", "a-100-aaaa-120", first(func(r *result.Result) string { return "v" + r.Fetches[0].Winner })},
		{"v6 SYN after AAAA answer when A is 2 s late (ms)", "a-2000", inTheMedian(func(r *result.Result) float64 { return r.FirstAttempt(6) - r.FirstAnswer("AAAA") })},
		{"next attempt after RST (ms)", "v6-rst-50", inTheMedian(func(r *result.Result) float64 { return r.FirstAttempt(4) - r.FirstReply(6) })},
		{"4 v6 + 4 v4 all dead: order@ms", "interlace-44", first((*result.Result).Order)},
		{"4 v6 + 4 v4 all dead: v6/v4 addresses used", "interlace-44", first(addressesUsed)},
		{"4+4 all RST: order", "all-rst-44", first((*result.Result).Addresses)},
		{"late AAAA joins a running race (v4 dead)", "aaaa-500-v4-drop", first(lateAAAAJoins)},
		{"far server (both 400 ms): SYNs / connections made", "both-slow-400", first(func(r *result.Result) string { return fmt.Sprintf("%d / %d", len(r.Attempts), r.Fetches[0].Up) })},
		{"v6 200 ms vs v4 0 ms: winner, SYNs", "v6-slow-200", first(func(r *result.Result) string { return fmt.Sprintf("v%s, %d", r.Fetches[0].Winner, len(r.Attempts)) })},
		{"DNS queries when nothing answers (A+AAAA), time to error", "dns-all-timeout", first(queriesToFailure)},
		{"DNS queries on SERVFAIL for both (A+AAAA), time to error", "dns-all-servfail", first(queriesToFailure)},
		{"first of two nameservers silent: 6 fetches, ms", "mem-ns-first-dead", first(fetchTimes)},
		{"AAAA queries sent when AAAA never answers", "aaaa-timeout", first(func(r *result.Result) string { return fmt.Sprint(r.QueriesOf("AAAA")) })},
		{"memory, same host x6, v6 dead: family:ms", "mem-same-v6-drop", first((*result.Result).Series)},
		{"memory, 12 hosts, v6 dead everywhere: family:ms", "mem-hosts-v6-drop", first((*result.Result).Series)},
		{"... v6 attempts in those 12 fetches / total ms", "mem-hosts-v6-drop", first(func(r *result.Result) string { return fmt.Sprintf("%d / %.0f", r.SYN6(), totalMS(r)) })},
		{"recovery, v6 back after 10 of 24: first v6 win at fetch; v6 wins after; v6 attempts before", "mem-recover", first(recovery)},
		{"far host x5 (300 ms): SYNs per fetch", "mem-rtt-far", first(synsEach)},
		{"8 concurrent, one far host (400 ms): SYN6+SYN4, slowest ms", "conc-same-far", first(concurrent)},
	}
}

func first(text func(*result.Result) string) func([]*result.Result) string {
	return func(results []*result.Result) string { return text(results[0]) }
}

func inTheMedian(figure func(*result.Result) float64) func([]*result.Result) string {
	return func(results []*result.Result) string { return result.Number(medianOf(results, figure)) }
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func queryOrder(r *result.Result) string {
	var types []string
	gap := math.NaN()
	for i, q := range r.Queries {
		types = append(types, q.Type)
		if i == 1 {
			gap = q.At
		}
	}
	return strings.Join(types, ",") + " (" + result.Number(gap) + " ms)"
}

func resolutionDelay(results []*result.Result) string {
	const aaaaComes = 1900 // or somewhat later
	ms := medianOf(results, func(r *result.Result) float64 { return r.FirstAttempt(4) - r.FirstAnswer("A") })
	if math.IsNaN(ms) || ms > aaaaComes {
		return "none: waits for AAAA"
	}
	return result.Number(ms)
}

func addressesUsed(r *result.Result) string {
	seen, count := map[string]bool{}, map[int]int{}
	for _, a := range r.Attempts {
		if !seen[a.Address] {
			seen[a.Address] = true
			count[a.Family]++
		}
	}
	return fmt.Sprintf("%d/%d", count[6], count[4])
}

func lateAAAAJoins(r *result.Result) string {
	const aaaaComes = 490 // or somewhat later
	ms := r.FirstAttempt(6) - r.FirstAnswer("AAAA")
	switch begun := r.FirstAttempt(4); {
	case math.IsNaN(ms):
		return "never"
	case math.IsNaN(begun) || begun > aaaaComes:
		return "no race before AAAA"
	}
	return "yes, +" + result.Number(ms) + " ms"
}

func queriesToFailure(r *result.Result) string {
	f := r.Fetches[0]
	return fmt.Sprintf("%d+%d, %s ms, class %s", r.QueriesOf("A"), r.QueriesOf("AAAA"), result.Number(f.ClientMS), f.Class)
}

func fetchTimes(r *result.Result) string {
	var s []string
	for _, f := range r.Fetches {
		s = append(s, result.Number(f.ClientMS))
	}
	return strings.Join(s, " ")
}

func totalMS(r *result.Result) (total float64) {
	for _, f := range r.Fetches {
		total += f.ClientMS
	}
	return total
}

func recovery(r *result.Result) string {
	const healed = 10
	wins, before := 0, 0
	for i, f := range r.Fetches {
		switch {
		case i < healed:
			before += f.SYN6
		case f.Family == 6:
			wins++
		}
	}
	return fmt.Sprintf("%d; %d/%d; %d", firstOverIPv6(r, healed), wins, len(r.Fetches)-healed, before)
}

func concurrent(r *result.Result) string {
	slowest := 0.0
	for _, f := range r.Fetches {
		slowest = max(slowest, f.ClientMS)
	}
	return fmt.Sprintf("%d+%d, %s", r.SYN6(), r.SYN4(), result.Number(slowest))
}
