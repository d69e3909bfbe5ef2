package world

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
)

// Scenario holds every knob of a world. All times are in milliseconds, all
// shares are 0..1. The sources of the default figures are in the lab's README.
type Scenario struct {
	Name string `json:"name"`
	Note string `json:"note,omitempty"`

	// The crawl.
	Hosts   int     `json:"hosts"`
	URLs    int     `json:"urls"`
	Workers int     `json:"workers"`
	PerHost int     `json:"per_host"` // requests to one host at a time
	Zipf    float64 `json:"zipf"`     // exponent of the hosts' popularity; 0: all alike
	Once    bool    `json:"once"`     // every host appears once before any appears again
	TLS     bool    `json:"tls"`
	Wave    int     `json:"wave"`    // URLs become known in waves of this many ...
	WaveMS  int     `json:"wave_ms"` // ... at this distance; 0: all at once

	// Addresses and the way to them.
	DualStack   float64 `json:"dual_stack"`    // hosts that publish AAAA
	MultiA      float64 `json:"multi_a"`       // hosts with 2..4 A records
	V6Blackhole float64 `json:"v6_blackhole"`  // share of the AAAA hosts: IPv6 packets vanish, IPv4 is fine
	V6Refuse    float64 `json:"v6_refuse"`     // share of the AAAA hosts: IPv6 answers RST, IPv4 is fine
	V6NoRoute   bool    `json:"v6_noroute"`    // the client has no IPv6 route at all (ENETUNREACH)
	Dead        float64 `json:"dead"`          // SYNs vanish on every address
	Refuse      float64 `json:"refuse"`        // RST on every address
	PartDead    float64 `json:"part_dead"`     // the first A record is dead, the second works
	Mute        float64 `json:"mute"`          // accepts, then never sends a byte
	DeadMinRank float64 `json:"dead_min_rank"` // the most popular share of the hosts is spared by all of these
	SynLoss     float64 `json:"syn_loss"`      // per SYN
	Moved       float64 `json:"moved"`         // hosts whose address changes at MovedAt
	MovedAt     float64 `json:"moved_at"`      // in dispatched URLs, as a share of all

	// DNS.
	NXDomain      float64    `json:"nxdomain"`
	ServFail      float64    `json:"servfail"`       // for ever, and slow
	ServFailFirst float64    `json:"servfail_first"` // only the first answer
	NoAnswer      float64    `json:"no_answer"`      // the resolver never answers for this name
	DNSLoss       float64    `json:"dns_loss"`       // per UDP query
	Trunc         float64    `json:"trunc"`          // TC on UDP
	CNAME1        float64    `json:"cname1"`         // hosts behind one alias
	CNAME2        float64    `json:"cname2"`         // hosts behind two or three
	ResolverRTT   [2]float64 `json:"resolver_rtt"`
	ColdMedian    float64    `json:"cold_median"` // log-normal: a look-up the resolver has no answer for
	ColdSigma     float64    `json:"cold_sigma"`
	ColdRetry     float64    `json:"cold_retry"`    // share of these that meet a time-out behind the resolver
	ColdRetryMS   float64    `json:"cold_retry_ms"` // what that adds
	WarmHead      float64    `json:"warm_head"`     // chance that the resolver has the answer, most popular tenth
	WarmTail      float64    `json:"warm_tail"`     // ... and the rest
	TTLScale      float64    `json:"ttl_scale"`     // the TTLs of the real mix are divided by this
	NSDeathAt     float64    `json:"ns_death_at"`   // the first name server falls silent; in dispatched URLs, as a share of all
	NSReviveAt    float64    `json:"ns_revive_at"`
	QPSLimit      float64    `json:"qps_limit"` // queries a second, the rest is dropped; 0: no limit

	// Web servers.
	CDNShare   float64 `json:"cdn_share"` // near hosts
	RTTNear    float64 `json:"rtt_near"`
	RTTFar     float64 `json:"rtt_far"` // log-normal
	RTTSigma   float64 `json:"rtt_sigma"`
	Think      float64 `json:"think"` // log-normal: request to first byte, inside the server
	ThinkSigma float64 `json:"think_sigma"`
	ThinkCap   float64 `json:"think_cap"`  // the slowest page
	Closers    float64 `json:"closers"`    // hosts that send Connection: close
	ShortIdle  float64 `json:"short_idle"` // hosts that close idle connections after IdleMS
	IdleMS     float64 `json:"idle_ms"`

	TimeoutMS int `json:"timeout_ms"` // the client's, for a whole request
}

// Names lists the built-in scenarios.
func Names() []string { return slices.Sorted(maps.Keys(Scenarios())) }

// Load returns a built-in scenario by name, or one from a JSON file. A file
// holds only what differs from the built-in one named by "base" (web if none).
func Load(name string) (Scenario, error) {
	if s, ok := Scenarios()[name]; ok {
		return s, nil
	}
	b, err := os.ReadFile(name)
	if err != nil {
		return Scenario{}, fmt.Errorf("no scenario %q (there are %v) and no such file", name, Names())
	}
	head := struct {
		Base string `json:"base"`
	}{Base: "web"}
	if err := json.Unmarshal(b, &head); err != nil {
		return Scenario{}, fmt.Errorf("scenario %s: %w", name, err)
	}
	s, ok := Scenarios()[head.Base]
	if !ok {
		return Scenario{}, fmt.Errorf("scenario %s: no base %q (there are %v)", name, head.Base, Names())
	}
	s.Name = name
	if err := json.Unmarshal(b, &s); err != nil {
		return Scenario{}, fmt.Errorf("scenario %s: %w", name, err)
	}
	return s, nil
}
