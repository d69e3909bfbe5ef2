package report

import (
	"bytes"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/hostwise-go/hostwise/bench/wire/result"
	"github.com/hostwise-go/hostwise/bench/wire/scenario"
)

func TestReport_SurvivesItsFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "a.json")
	want := &Report{
		Client:      "a",
		Command:     "./a",
		Repetitions: 2,
		TimeoutS:    15,
		When:        "2026-01-02T03:04:05Z",
		Results: []*result.Result{{
			Scenario:   "ok",
			Repetition: 1,
			Queries:    []result.Query{{Type: "A", At: 1, Answer: result.Never, Rcode: "NOERROR", Records: 1, TCP: true, Host: 2}},
			Attempts:   []result.Attempt{{Address: "6a", Family: 6, At: 1, SYNs: 1, Up: 2, Reply: 3, Fetch: 4}},
			Fetches:    []result.Fetch{won("6a", 5)},
			WallMS:     6,
			Output:     "OK",
		}},
	}
	if err := want.Write(file); err != nil {
		t.Fatal(err)
	}
	got, err := Read(file)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v %v, want %+v", got, err, want)
	}
}

func TestMerge_NewResultsReplaceThoseOfTheirScenario(t *testing.T) {
	older := &Report{Repetitions: 3, Results: []*result.Result{{Scenario: "nxdomain"}, {Scenario: "ok"}, {Scenario: "ok", Repetition: 1}}}
	r := &Report{Repetitions: 1, Results: []*result.Result{{Scenario: "ok", WallMS: 7}}}
	r.Merge(older)
	want := &Report{Repetitions: 3, Results: []*result.Result{{Scenario: "ok", WallMS: 7}, {Scenario: "nxdomain"}}}
	if !reflect.DeepEqual(r, want) {
		t.Errorf("got %+v, want %+v", r, want)
	}
}

func TestSort_ByScenarioThenRepetition(t *testing.T) {
	r := &Report{Results: []*result.Result{{Scenario: "nxdomain"}, {Scenario: "ok", Repetition: 1}, {Scenario: "ok"}}}
	r.Sort(scenario.All())
	want := []*result.Result{{Scenario: "ok"}, {Scenario: "ok", Repetition: 1}, {Scenario: "nxdomain"}}
	if !reflect.DeepEqual(r.Results, want) {
		t.Errorf("got %+v, want %+v", r.Results, want)
	}
}

func TestCompare_SetsClientsSideBySide(t *testing.T) {
	good := reportOf(func(name string) []*result.Result { return []*result.Result{both[name].good} })
	bad := reportOf(func(name string) []*result.Result { return []*result.Result{both[name].bad} })
	good.Client, bad.Client = "mine", "theirs"
	var b bytes.Buffer
	Compare(&b, []*Report{good, bad, {Client: "nobody"}})
	for _, line := range []string{
		"| property | mine | theirs | nobody |",
		"| CAD: v4 SYN after v6 SYN, v6 blackholed (ms) | 251 | 301 | - |",
		"| 4 v6 + 4 v4 all dead: v6/v4 addresses used | 4/4 | 4/4 | - |",
		"| memory, same host x6, v6 dead: family:ms | 4:255 4:5.0 4:5.0 4:5.0 4:5.0 4:5.0 | 4:255 4:255 4:5.0 4:5.0 4:5.0 4:5.0 | - |",
		"| recovery, v6 back after 10 of 24: first v6 win at fetch; v6 wins after; v6 attempts before | 12; 12/14; 0 | 15; 9/14; 0 | - |",
		"| v6-icmp | v4a 12 | FAIL connect 12 | - |",
	} {
		if !strings.Contains(b.String(), line+"\n") {
			t.Errorf("no line %q in\n%s", line, b.String())
		}
	}
	var details bytes.Buffer
	good.WriteDetails(&details)
	if want := "| mem-same-v6-drop | v4a 255 | 4:255 4:5.0 4:5.0 4:5.0 4:5.0 4:5.0 | 0+6 | 6 |\n"; !strings.Contains(details.String(), want) {
		t.Errorf("no line %q in\n%s", want, details.String())
	}
}

func TestWinners_SaysHowManyFailed(t *testing.T) {
	r := &Report{Results: []*result.Result{fetched(won("4a", 12)), fetched(won("6a", 2)), fetched(lost("", result.Never))}}
	for _, x := range r.Results {
		x.Scenario, x.WallMS = "ok", 15000
	}
	if got, want := r.winners("ok"), "v4a/v6a 12; FAIL 1/3 ? 15000"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWriteSweep_OneLineAValue(t *testing.T) {
	r := tried(won("4a", 252.5), "6a 4a", 1, 251)
	r.Scenario = "cad=400"
	var b bytes.Buffer
	WriteSweep(&b, []*result.Result{r})
	if _, line, _ := strings.Cut(b.String(), "\n"); line != "cad=400        4a        252.5  6a@0 4a@250\n" {
		t.Errorf("got %q", b.String())
	}
}
