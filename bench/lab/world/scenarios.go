package world

// Scenarios returns the built-in scenarios by name.
func Scenarios() map[string]Scenario {
	m := map[string]Scenario{}
	add := func(name, note string, change func(*Scenario)) {
		s := faultless()
		s.Name, s.Note = name, note
		change(&s)
		m[name] = s
	}
	add("clean", "no faults: what the DNS and connection path costs", func(*Scenario) {})
	add("web", "the default: the web as it is, every fault at its measured share", addFaults)
	add("nsdeath", "web, and the first of the two name servers dies after 30 % of the URLs", func(s *Scenario) {
		addFaults(s)
		s.NSDeathAt = 0.3
	})
	add("v6broken", "web, but IPv6 egress is a black hole (all AAAA unreachable)", func(s *Scenario) {
		addFaults(s)
		s.V6Blackhole, s.V6Refuse = 1, 0
	})
	add("dead", "web, with 10 % dead hosts, about ten pages for each host", func(s *Scenario) {
		addFaults(s)
		s.Hosts, s.URLs, s.Zipf = 300, 3000, 0.4
		s.Dead, s.DeadMinRank = 0.10, 0
	})
	add("lossy", "web over a bad line: 5 % of the DNS packets and 3 % of the SYNs are lost", func(s *Scenario) {
		addFaults(s)
		s.DNSLoss, s.SynLoss = 0.05, 0.03
	})
	add("ratelimit", "web, and the resolver serves at most 300 queries a second, the rest is dropped", func(s *Scenario) {
		addFaults(s)
		s.QPSLimit = 300
	})
	add("burst", "500 look-ups at once; many hosts, few pages each, keep-alive of no help", func(s *Scenario) {
		s.Hosts, s.URLs, s.Workers, s.Zipf, s.Once = 3000, 6000, 500, 0, true
		s.WarmHead, s.WarmTail = 0.25, 0.25
		s.Closers = 1
	})
	add("headline", "a crawl that stands still in between: every 11 s a burst of 200 pages over the same names; a 10 s DNS cache and idle connections are gone by then", func(s *Scenario) {
		s.Hosts, s.URLs, s.Workers, s.Zipf = 400, 1000, 500, 0.5
		s.Wave, s.WaveMS = 200, 11000
		s.WarmHead, s.WarmTail = 0.25, 0.25
		s.CDNShare, s.Think, s.ThinkSigma = 0.7, 45, 0.5
		s.ShortIdle, s.IdleMS, s.Closers = 1, 5000, 0
		s.TTLScale = 1
	})
	add("hot", "few hosts, warm names, no faults, near servers: per-request overhead", func(s *Scenario) {
		s.Hosts, s.URLs, s.Workers, s.PerHost, s.Zipf = 50, 20000, 64, 8, 0
		s.WarmHead, s.WarmTail, s.ColdRetry = 1, 1, 0
		s.CDNShare, s.RTTNear, s.Think, s.ThinkSigma = 1, 2, 1, 0.1
		s.Closers, s.ShortIdle = 0.5, 0
		s.TTLScale = 1
	})
	return m
}

// faultless is what all scenarios start from.
func faultless() Scenario {
	return Scenario{
		Hosts: 1000, URLs: 4000, Workers: 256, PerHost: 8, Zipf: 0.9,
		DualStack: 0.38, MultiA: 0.30,
		DeadMinRank: 0.10,
		CNAME1:      0.35, CNAME2: 0.10,
		ResolverRTT: [2]float64{8, 14},
		ColdMedian:  70, ColdSigma: 1.1, ColdRetry: 0.05, ColdRetryMS: 800,
		WarmHead: 0.7, WarmTail: 0.25,
		TTLScale: 30,
		CDNShare: 0.45, RTTNear: 10, RTTFar: 70, RTTSigma: 0.5,
		Think: 30, ThinkSigma: 0.8, ThinkCap: 3000,
		Closers: 0.15, ShortIdle: 0.25, IdleMS: 1500,
		TimeoutMS: 10000,
	}
}

// addFaults puts every fault at the share it was measured at.
func addFaults(s *Scenario) {
	s.V6Blackhole, s.V6Refuse = 0.02, 0.012
	s.Dead, s.Refuse, s.PartDead, s.Mute = 0.015, 0.005, 0.01, 0.003
	s.NXDomain, s.ServFail, s.ServFailFirst, s.NoAnswer = 0.05, 0.01, 0.01, 0.003
	s.DNSLoss, s.SynLoss, s.Trunc = 0.01, 0.003, 0.005
	s.Moved, s.MovedAt = 0.01, 0.5
}
