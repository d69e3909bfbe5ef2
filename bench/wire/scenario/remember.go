package scenario

// remember are the scenarios above TCP, and those of several fetches in one
// process. The servers close each connection.
func remember() []Scenario {
	drop6 := toFamily(6, Path{Fate: Drop})
	healthy := host(fine, fine)
	return []Scenario{
		// above TCP
		{Name: "tls-ok", Description: "https, all healthy", Hosts: healthy, TLS: true},
		{Name: "tls-v6-stall", Description: "https, v6: TCP handshake works, server data lost (PMTU hole)",
			Hosts: healthy, TLS: true, Network: toFamily(6, Path{LoseData: true})},
		// memory (several fetches in one process; the server closes each connection)
		{Name: "mem-same-v6-drop", Description: "same host 6 times, v6 dead: is the outcome remembered per host?",
			Hosts: healthy, Fetches: make([]int, 6), Network: drop6, Gap: 50 * ms},
		{Name: "mem-hosts-v6-drop", Description: "12 hosts once each, v6 dead everywhere: is global v6 failure learnt?",
			Hosts: hosts(12), Fetches: seq(0, 12), Network: drop6, Gap: 50 * ms},
		{Name: "mem-recover", Description: "24 hosts: v6 dead for the first 10, then healthy: does v6 come back?", Hosts: hosts(24), Fetches: seq(0, 24), Gap: 250 * ms,
			Network: func(family, _, served int) Path {
				if family == 6 && served < 10 {
					return Path{Fate: Drop}
				}
				return Path{}
			}},
		{Name: "mem-rtt-far", Description: "same far host 5 times (both RTT 300 ms): later fetches must not double connect", Hosts: healthy, Fetches: make([]int, 5), Gap: 50 * ms,
			Network: toAll(Path{RTT: 300 * ms})},
		{Name: "conc-same-far", Description: "8 concurrent fetches of one far host (both RTT 400 ms): SYNs must not double", Hosts: healthy, Fetches: make([]int, 8), Concurrency: 8,
			Network: toAll(Path{RTT: 400 * ms})},
	}
}
