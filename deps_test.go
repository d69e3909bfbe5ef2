package hostwise_test

import (
	"encoding/json"
	"errors"
	"go/parser"
	"go/token"
	"io"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/hostwise-go/hostwise"

// rules say what a package may not import, directly or not, and why. The
// imports form a line: hostwise <- dnscache <- transport <- colly <- examples.
var rules = []struct {
	pkg, not, why string
}{
	{"", module + "/", "the words come first: everything else returns them"},
	{"", ".", "the words are for every program; they need the standard library only"},
	{"/internal/happyeyeballs", ".", "a pure state machine"},
	{"/internal/happyeyeballs", "net", "it has no sockets"},
	{"/internal/happyeyeballs", "net/http", "it has no sockets"},
	{"/dnscache", module + "/transport", "resolving stands on its own"},
	{"/dnscache", module + "/colly", "resolving stands on its own"},
	{"/transport", module + "/colly", "any http.Client can use it"},
	{"/transport", "github.com/gocolly/", "who uses transport alone must not get Colly into the build"},
	{"/transport", "github.com/schollz/", "progress bars are for the examples"},
	{"/colly", "github.com/schollz/", "progress bars are for the examples"},
	{"/dnscache", module + "/internal/simnet", "for tests only"},
	{"/transport", module + "/internal/simnet", "for tests only"},
	{"/colly", module + "/internal/simnet", "for tests only"},
	{"/transport", module + "/internal/loopnet", "for tests and examples only"},
	{"/colly", module + "/internal/loopnet", "for tests and examples only"},
}

// httpFile is the only one of dnscache's that may use net/http: the rest must
// not lean on an HTTP stack for looking up names.
const httpFile = "doh.go"

func TestImports_HTTPInOneFile(t *testing.T) {
	files, err := filepath.Glob("dnscache/*.go")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") || filepath.Base(name) == httpFile {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range f.Imports {
			if i.Path.Value == `"net/http"` {
				t.Errorf("%s imports net/http, which is for %s", name, httpFile)
			}
		}
	}
}

// only lists the library's packages that may use a dependency directly.
var only = map[string][]string{
	"github.com/miekg/dns":           {"/dnscache", "/internal/simnet", "/internal/loopnet"},
	"github.com/sony/gobreaker/v2":   {"/transport"},
	"github.com/gocolly/colly/v2":    {"/colly", "/examples/crawl", "/examples/colly", "/examples/broadcrawl"},
	"github.com/schollz/progressbar": {"/examples/crawl"},
}

type goPackage struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func TestImports(t *testing.T) {
	pkgs := list(t)
	for _, r := range rules {
		p, ok := pkgs[module+r.pkg]
		if !ok {
			t.Errorf("rule for %s%s: no such package", module, r.pkg)
		}
		for _, d := range p.Deps {
			external := r.not == "." && strings.Contains(strings.SplitN(d, "/", 2)[0], ".")
			if external || d == r.not || strings.HasSuffix(r.not, "/") && strings.HasPrefix(d, r.not) {
				t.Errorf("%s imports %s: %s", p.ImportPath, d, r.why)
			}
		}
	}
	for _, p := range pkgs {
		for _, d := range p.Imports {
			for dep, allowed := range only {
				if strings.HasPrefix(d, dep) && !slices.Contains(allowed, strings.TrimPrefix(p.ImportPath, module)) {
					t.Errorf("%s imports %s, which is for %v", p.ImportPath, d, allowed)
				}
			}
		}
	}
}

func list(t *testing.T) map[string]goPackage {
	t.Helper()
	out, err := exec.Command("go", "list", "-deps", "-json=ImportPath,Imports,Deps", "./...").Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Fatalf("go list: %v: %s", err, exit.Stderr)
		}
		t.Skipf("the go command is needed to list imports: %v", err)
	}
	pkgs := map[string]goPackage{}
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := d.Decode(&p); err == io.EOF {
			return pkgs
		} else if err != nil {
			t.Fatal(err)
		}
		if p.ImportPath == module || strings.HasPrefix(p.ImportPath, module+"/") {
			pkgs[p.ImportPath] = p
		}
	}
}
