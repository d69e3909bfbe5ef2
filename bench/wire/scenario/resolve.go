package scenario

import (
	"net/netip"

	"github.com/miekg/dns"
)

// resolve are the scenarios in which something is wrong with names.
func resolve() []Scenario {
	drop4 := toFamily(4, Path{Fate: Drop})
	healthy := host(fine, fine)
	firstDead := []netip.Addr{DeadNameserver4, Nameserver4}
	return []Scenario{
		// DNS timing
		{Name: "aaaa-20", Description: "AAAA 20 ms late", Hosts: host(fine, Answer{Delay: 20 * ms})},
		{Name: "aaaa-50", Description: "AAAA 50 ms late", Hosts: host(fine, Answer{Delay: 50 * ms})},
		{Name: "aaaa-500", Description: "AAAA 500 ms late", Hosts: host(fine, Answer{Delay: 500 * ms})},
		{Name: "aaaa-2000", Description: "AAAA 2000 ms late (RD)", Hosts: host(fine, Answer{Delay: 2000 * ms})},
		{Name: "aaaa-timeout", Description: "AAAA never answered", Hosts: host(fine, Answer{Silent: true})},
		{Name: "aaaa-servfail", Description: "AAAA SERVFAIL", Hosts: host(fine, Answer{Rcode: dns.RcodeServerFailure})},
		{Name: "aaaa-nxdomain", Description: "AAAA NXDOMAIN though A exists (broken server)", Hosts: host(fine, Answer{Rcode: dns.RcodeNameError})},
		{Name: "a-100-aaaa-120", Description: "slow resolver: A at 100 ms, AAAA at 120 ms (RD must count from the A answer, so v6 wins)",
			Hosts: host(Answer{Delay: 100 * ms}, Answer{Delay: 120 * ms})},
		{Name: "a-2000", Description: "A 2000 ms late", Hosts: host(Answer{Delay: 2000 * ms}, fine)},
		{Name: "a-timeout", Description: "A never answered", Hosts: host(Answer{Silent: true}, fine)},
		{Name: "a-servfail", Description: "A SERVFAIL", Hosts: host(Answer{Rcode: dns.RcodeServerFailure}, fine)},
		{Name: "aaaa-500-v4-drop", Description: "v4 dead, AAAA 500 ms late: must join the race",
			Hosts: host(fine, Answer{Delay: 500 * ms}), Network: drop4},
		{Name: "a-lost-once", Description: "first A query and first AAAA query lost (UDP loss)",
			Hosts: host(Answer{Silent: true, Times: 1}, Answer{Silent: true, Times: 1})},
		{Name: "ns-first-dead", Description: "two nameservers, the first silent", Hosts: healthy, Nameservers: firstDead},
		{Name: "mem-ns-first-dead", Description: "6 hosts, first of two nameservers silent: is that learnt?",
			Hosts: hosts(6), Fetches: seq(0, 6), Gap: 50 * ms, Nameservers: firstDead},
		{Name: "dns-all-timeout", Description: "no answer at all: time to a DNS error", Hosts: host(Answer{Silent: true}, Answer{Silent: true})},
		{Name: "dns-all-servfail", Description: "SERVFAIL for both: time to a DNS error",
			Hosts: host(Answer{Rcode: dns.RcodeServerFailure}, Answer{Rcode: dns.RcodeServerFailure})},
		{Name: "nxdomain", Description: "NXDOMAIN for both", Hosts: host(Answer{Rcode: dns.RcodeNameError}, Answer{Rcode: dns.RcodeNameError})},
	}
}
