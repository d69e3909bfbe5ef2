package hostwise_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hostwise-go/hostwise"
)

func readme(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The table of errors says what the integration tests see.
func TestReadme_ErrorTable(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\|[^|]*\\| `\\*(\\w+)` \\| `(\\w+)` \\| (\\w*) ?\\| (yes|no) \\|$")
	rows := map[hostwise.Kind][]string{}
	for _, m := range row.FindAllStringSubmatch(readme(t), -1) {
		k := hostwise.Kind(m[2])
		rows[k] = m
		if want := map[bool]string{true: "yes", false: "no"}[k.Retryable()]; m[4] != want {
			t.Errorf("%s: retryable is %q, want %q", k, m[4], want)
		}
	}
	// No row of the README's says other than a scenario of its Kind.
	for _, s := range allScenarios() {
		m := rows[s.kind]
		if m == nil {
			continue
		}
		if m[3] != string(s.phase) && !(s.kind == hostwise.HTTPEOF && s.phase == inBody) || !s.typ(typeNamed(m[1])) {
			t.Errorf("%s: the README has %s in phase %q, the scenario %q does not", s.kind, m[1], m[3], s.name)
		}
	}
	types := map[hostwise.Phase]string{
		hostwise.PhaseResolve: "DNSError", hostwise.PhaseConnect: "ConnectError", hostwise.PhaseTLS: "TLSError", hostwise.PhaseRequest: "RequestError",
	}
	for _, f := range failures {
		m := rows[f.kind]
		if m == nil {
			t.Errorf("no row for %s", f.kind)
			continue
		}
		if m[1] != types[f.phase] || m[3] != string(f.phase) {
			t.Errorf("%s: row says %s in %q, want %s in %q", f.kind, m[1], m[3], types[f.phase], f.phase)
		}
	}
}

// typeNamed returns an error of a type that the README names.
func typeNamed(name string) error {
	for _, err := range []error{
		&hostwise.DNSError{}, &hostwise.ConnectError{}, &hostwise.TLSError{}, &hostwise.RequestError{}, &hostwise.HostDownError{}, &hostwise.DeniedError{},
	} {
		if fmt.Sprintf("%T", err) == "*hostwise."+name {
			return err
		}
	}
	return nil
}

// Each piece of Go in the README compiles as it stands inside a function.
func TestReadme_CodeCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the go command; run without -short")
	}
	dir := t.TempDir()
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(readme(t), -1)
	if len(blocks) == 0 {
		t.Fatal("no Go in the README")
	}
	imports := map[string]string{
		"colly": "github.com/gocolly/colly/v2", "dnscache": "", "errors": "errors", "hostwise": "", "hostwisecolly": "", "http": "net/http",
		"log": "log", "net": "net", "time": "time", "transport": "",
	}
	for i, b := range blocks {
		code := b[1]
		if strings.HasPrefix(code, "package main") {
			continue // the tests of colly run it
		}
		src := &strings.Builder{}
		fmt.Fprintln(src, "package main")
		for name, path := range imports {
			switch {
			case !regexp.MustCompile(`\b`+name+`\.`).MatchString(code) && !(name == "colly" && strings.Contains(code, "(c, t)")):
				continue
			case name == "hostwise":
				path = module
			case name == "hostwisecolly":
				path = module + "/colly"
			case path == "":
				path = module + "/" + name
			}
			fmt.Fprintf(src, "import %s %q\n", name, path)
		}
		var params []string
		if strings.Contains(code, "(c, t)") {
			params = append(params, "c *colly.Collector")
		}
		if strings.Contains(code, "errors.As(err") {
			params = append(params, "err error")
		}
		if strings.Contains(code, "(ctx, ") {
			params = append(params, "ctx context.Context")
			fmt.Fprintln(src, `import "context"`)
		}
		fmt.Fprintf(src, "func piece(%s) {\n%s\n", strings.Join(params, ", "), code)
		for _, v := range []string{"resp", "addrs", "dialer"} { // results that the reader will use
			if strings.Contains(code, v+", err :=") || strings.Contains(code, v+" :=") {
				fmt.Fprintf(src, "_ = %s\n", v)
			}
		}
		fmt.Fprintln(src, "}\nfunc main() {}")
		file := filepath.Join(dir, fmt.Sprintf("piece%d.go", i))
		if err := os.WriteFile(file, []byte(src.String()), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command("go", "build", "-o", os.DevNull, file).CombinedOutput(); err != nil {
			t.Errorf("%v: %s\n%s", err, out, src)
		}
	}
}
