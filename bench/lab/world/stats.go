package world

// Stats is what the world saw of one client.
type Stats struct {
	QueriesA           int64   `json:"q_a"`
	QueriesAAAA        int64   `json:"q_aaaa"`
	QueriesOther       int64   `json:"q_other"`
	QueriesTCP         int64   `json:"q_tcp"`
	QueriesDropped     int64   `json:"q_dropped"`
	QueriesRateLimited int64   `json:"q_ratelimited"`
	QueriesRepeated    int64   `json:"q_repeat"`
	QueriesByServer    []int64 `json:"q_ns"`
	SYN                int64   `json:"syn"` // connections tried; retransmissions are not counted
	SYN4               int64   `json:"syn4"`
	SYN6               int64   `json:"syn6"`
	SYNRetransmitted   int64   `json:"syn_retx"`
	SYNDropped         int64   `json:"syn_dropped"`
	Accepted           int64   `json:"accepted"`
	Requests           int64   `json:"requests"`
	WrongHost          int64   `json:"wrong_host"` // requests for a host that is not at this address
	Stray              int64   `json:"stray"`      // packets to or from nobody
	Packets            int64   `json:"packets"`
	LateP50us          int64   `json:"late_p50_us"` // how late packets left the router, in microseconds
	LateP99us          int64   `json:"late_p99_us"`
	CPU                float64 `json:"cpu_s"`
}
