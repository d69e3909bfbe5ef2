package scenario

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const ms = time.Millisecond

// All are the scenarios, in the order of tables.
func All() []Scenario {
	return withDefaults(slices.Concat(reach(), resolve(), remember()))
}

// Sweep are scenarios of one figure that grows: "cad:FROM:TO:STEP" is the RTT
// of IPv6, "rd:FROM:TO:STEP" the delay of the AAAA answer, in milliseconds.
func Sweep(spec string) (scenarios []Scenario, err error) {
	var from, to, step int
	figure, rest, _ := strings.Cut(spec, ":")
	if _, err := fmt.Sscanf(rest, "%d:%d:%d", &from, &to, &step); err != nil || step <= 0 || from < 0 {
		return nil, fmt.Errorf("%q is not cad:FROM:TO:STEP or rd:FROM:TO:STEP", spec)
	}
	for v := from; v <= to; v += step {
		s := Scenario{Name: fmt.Sprintf("%s=%d", figure, v), Hosts: host(fine, fine)}
		switch late := time.Duration(v) * ms; figure {
		case "cad":
			s.Network = toFamily(6, Path{RTT: late})
		case "rd":
			s.Hosts = host(fine, Answer{Delay: late})
		default:
			return nil, fmt.Errorf("no sweep of %q: cad or rd", figure)
		}
		scenarios = append(scenarios, s)
	}
	return withDefaults(scenarios), nil
}

func withDefaults(scenarios []Scenario) []Scenario {
	for i := range scenarios {
		s := &scenarios[i]
		if len(s.Fetches) == 0 {
			s.Fetches = []int{0}
		}
		s.Concurrency = max(1, s.Concurrency)
		if len(s.Nameservers) == 0 {
			s.Nameservers = append(s.Nameservers, Nameserver4)
		}
	}
	return scenarios
}

// host has one address of each family.
func host(a, aaaa Answer) []Host {
	return []Host{{V6: seq(0, 1), V4: seq(0, 1), A: a, AAAA: aaaa}}
}

// hosts have one address of each family each.
func hosts(n int) (all []Host) {
	for i := range n {
		all = append(all, Host{V6: seq(i, 1), V4: seq(i, 1)})
	}
	return all
}

// fine is how a nameserver should answer.
var fine Answer

func seq(from, n int) (numbers []int) {
	for i := range n {
		numbers = append(numbers, from+i)
	}
	return numbers
}

func toAll(p Path) func(family, index, served int) Path {
	return func(_, _, _ int) Path { return p }
}

func toFamily(which int, p Path) func(family, index, served int) Path {
	return func(family, _, _ int) Path {
		if family == which {
			return p
		}
		return Path{}
	}
}

// toAddress has paths by family and index.
func toAddress(paths map[[2]int]Path) func(family, index, served int) Path {
	return func(family, index, _ int) Path { return paths[[2]int{family, index}] }
}
