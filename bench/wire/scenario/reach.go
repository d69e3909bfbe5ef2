package scenario

// reach are the scenarios in which something is wrong with addresses.
func reach() []Scenario {
	drop6, drop4 := toFamily(6, Path{Fate: Drop}), toFamily(4, Path{Fate: Drop})
	healthy := host(fine, fine)
	n44 := []Host{{V6: seq(0, 4), V4: seq(0, 4)}}
	return []Scenario{
		// which family, which order
		{Name: "ok", Description: "v6 and v4 healthy", Hosts: healthy},
		{Name: "v4-host", Description: "host has no AAAA (NODATA)", Hosts: []Host{{V4: seq(0, 1)}}},
		{Name: "v6-host", Description: "host has no A (NODATA)", Hosts: []Host{{V6: seq(0, 1)}}},
		{Name: "client-nov6", Description: "client has no v6 address and route, host is dual stack", Hosts: healthy, NoIPv6: true},
		// broken v6 (CAD)
		{Name: "v6-drop", Description: "v6 blackhole", Hosts: healthy, Network: drop6},
		{Name: "v6-rst", Description: "v6 answers RST", Hosts: healthy, Network: toFamily(6, Path{Fate: Reset})},
		{Name: "v6-rst-50", Description: "v6 answers RST after 50 ms", Hosts: healthy, Network: toFamily(6, Path{Fate: Reset, RTT: 50 * ms})},
		{Name: "v6-icmp", Description: "v6 answers ICMPv6 no route", Hosts: healthy, Network: toFamily(6, Path{Fate: Unreachable})},
		{Name: "v6-slow-200", Description: "v6 RTT 200 ms, v4 0", Hosts: healthy, Network: toFamily(6, Path{RTT: 200 * ms})},
		{Name: "v6-slow-400", Description: "v6 RTT 400 ms, v4 0", Hosts: healthy, Network: toFamily(6, Path{RTT: 400 * ms})},
		{Name: "both-slow-400", Description: "v6 and v4 RTT 400 ms (far server: should not double)", Hosts: healthy, Network: toAll(Path{RTT: 400 * ms})},
		{Name: "v4host-synloss", Description: "single v4 address, first SYN lost (must survive to the 1 s retransmission)",
			Hosts: []Host{{V4: seq(0, 1)}}, Network: toFamily(4, Path{LoseFirstSYN: true})},
		// several addresses
		{Name: "v6a-v4-drop", Description: "2 v6 (first dead) + 1 dead v4",
			Hosts: []Host{{V6: seq(0, 2), V4: seq(0, 1)}}, Network: toAddress(map[[2]int]Path{{6, 0}: {Fate: Drop}, {4, 0}: {Fate: Drop}})},
		{Name: "v4-all-drop", Description: "2 v6 healthy + 2 v4 dead", Hosts: []Host{{V6: seq(0, 2), V4: seq(0, 2)}}, Network: drop4},
		{Name: "v4host-a-drop", Description: "v4 only host, 2 addresses, first dead",
			Hosts: []Host{{V4: seq(0, 2)}}, Network: toAddress(map[[2]int]Path{{4, 0}: {Fate: Drop}})},
		{Name: "interlace-44", Description: "4 v6 + 4 v4, all blackholed: order and pace", Hosts: n44, Network: toAll(Path{Fate: Drop})},
		{Name: "all-rst-44", Description: "4 v6 + 4 v4, all RST: order and time to fail", Hosts: n44, Network: toAll(Path{Fate: Reset})},
		{Name: "all-drop-11", Description: "1 v6 + 1 v4, both blackholed: time to fail", Hosts: healthy, Network: toAll(Path{Fate: Drop})},
	}
}
