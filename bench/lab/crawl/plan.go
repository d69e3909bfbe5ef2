package crawl

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"time"
)

// Plan is the file that every client is given, in whatever language it is
// written.
type Plan struct {
	Client      string   `json:"client"`
	Scenario    string   `json:"scenario"`
	Seed        uint64   `json:"seed"`
	URLs        []string `json:"urls"`
	Host        []int32  `json:"host"` // of each URL
	Workers     int      `json:"workers"`
	PerHost     int      `json:"per_host"` // requests to one host at a time
	TimeoutMS   int      `json:"timeout_ms"`
	Nameservers []string `json:"nameservers"`
	Control     string   `json:"ctl"`     // unix socket: GET /progress?n=DISPATCHED ...
	Marks       []int    `json:"marks"`   // ... when so many URLs were dispatched
	Wave        int      `json:"wave"`    // URL i becomes known after (i / wave) * wave_ms
	WaveMS      int      `json:"wave_ms"` // 0: all are known at once
	LimitS      float64  `json:"limit_s"` // hand out no URL after this long; 0: no limit
	CAFile      string   `json:"ca_file"`
	ScenarioDef string   `json:"scenario_def"` // for the floor client only

	Trace      bool   `json:"trace,omitempty"`       // fill the phases of each Row
	CPUProfile string `json:"cpu_profile,omitempty"` // file
	Goroutines bool   `json:"goroutines,omitempty"`  // dump those left at the end to stderr
}

// Row is what became of one URL. All times are in milliseconds.
type Row struct {
	URL     int     `json:"i"`
	Start   float64 `json:"s"` // since the crawl began
	TTFB    float64 `json:"f"`
	Total   float64 `json:"t"`
	Kind    Kind    `json:"k"`
	Err     string  `json:"e,omitempty"`
	DNS     float64 `json:"d,omitempty"`
	Connect float64 `json:"c,omitempty"`
	Reused  bool    `json:"r,omitempty"`
}

// Result is the file that every client leaves behind.
type Result struct {
	Client          string  `json:"client"`
	Version         string  `json:"version"`
	Wall            float64 `json:"wall_s"`
	CPU             float64 `json:"cpu_s"`
	CPUUser         float64 `json:"cpu_user_s"`
	RSSBase         float64 `json:"rss_base_mb"`
	RSSPeak         float64 `json:"rss_peak_mb"`
	GoroutinesBase  int     `json:"goroutines_base"`
	GoroutinesPeak  int     `json:"goroutines_peak"`
	GoroutinesEnd   int     `json:"goroutines_end"`   // right after the last URL
	GoroutinesAfter int     `json:"goroutines_after"` // one second after Close
	AllocMB         float64 `json:"alloc_mb"`
	Mallocs         uint64  `json:"mallocs"`
	Rows            []Row   `json:"rows"`
}

func readPlan(file string) (*Plan, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	p := new(Plan)
	if err := json.Unmarshal(b, p); err != nil {
		return nil, fmt.Errorf("plan %s: %w", file, err)
	}
	return p, nil
}

func (p *Plan) config(f *frontier) (Config, error) {
	c := Config{
		Plan:        p,
		PerHost:     p.PerHost,
		Timeout:     time.Duration(p.TimeoutMS) * time.Millisecond,
		Nameservers: p.Nameservers,
		Dispatched:  func() int { return int(f.dispatched.Load()) },
	}
	if p.CAFile != "" {
		pem, err := os.ReadFile(p.CAFile)
		if err != nil {
			return Config{}, err
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return Config{}, fmt.Errorf("%s: no certificate", p.CAFile)
		}
	}
	return c, nil
}
