package report

import (
	"slices"

	"github.com/hostwise-go/hostwise/bench/lab/crawl"
	"github.com/hostwise-go/hostwise/bench/lab/world"
)

// right lists the kinds that tell the truth about a host that is not well.
var right = map[world.Fate][]crawl.Kind{
	world.NXDomain:   {crawl.NXDomain},
	world.ServFail:   {crawl.ServFail},
	world.DNSTimeout: {crawl.DNSTimeout},
	world.Dead:       {crawl.ConnectTimeout, crawl.CircuitOpen, crawl.Unreachable},
	world.Refused:    {crawl.Refused, crawl.CircuitOpen},
	world.Mute:       {crawl.HTTPTimeout, crawl.CircuitOpen},
}

func isRight(truth world.Fate, reported crawl.Kind) bool {
	return slices.Contains(right[truth], reported)
}

// family is the coarser answer to the question who failed.
type family int

const (
	nobody family = iota
	itsName
	itself
	unknown
)

func familyOf(k crawl.Kind) family {
	switch k {
	case crawl.OK:
		return nobody
	case crawl.NXDomain, crawl.ServFail, crawl.DNSTimeout, crawl.DNSOther:
		return itsName
	case crawl.Refused, crawl.ConnectTimeout, crawl.Unreachable, crawl.CircuitOpen, crawl.HTTPTimeout:
		return itself
	}
	return unknown
}

func familyOfFate(f world.Fate) family {
	switch f {
	case world.OK:
		return nobody
	case world.Dead, world.Refused, world.Mute:
		return itself
	}
	return itsName
}
