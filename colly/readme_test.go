package hostwisecolly_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The program in the README, pasted into an empty module, compiles and runs.
func TestReadme_ProgramRuns(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the go command; run without -short")
	}
	if _, err := exec.LookPath("go"); err != nil {
		t.Skip("the go command is needed:", err)
	}
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)```go\n(package main\n.*?)```").FindStringSubmatch(read(t, root, "README.md"))
	if program == nil {
		t.Fatal("no program in the README")
	}
	// What go mod tidy would write, but of the versions that are here:
	// so that it works offline.
	mod := regexp.MustCompile(`(?m)^module .*`).ReplaceAllString(read(t, root, "go.mod"), "module pasted") +
		fmt.Sprintf("\nrequire github.com/hostwise-go/hostwise v0.0.0\nreplace github.com/hostwise-go/hostwise => %q\n", filepath.ToSlash(root))
	dir := t.TempDir()
	for name, text := range map[string]string{"main.go": program[1], "go.mod": mod, "go.sum": read(t, root, "go.sum")} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
		}
	}))
	defer site.Close()
	pasted := func(args ...string) string {
		cmd := exec.Command("go", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod", "GOPROXY=off")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("go %s: %v\n%s", strings.Join(args, " "), err, out)
		}
		return string(out)
	}
	pasted("vet", ".")
	out := pasted("run", ".", site.URL+"/", site.URL+"/none", "http://a..b/")
	for _, want := range []string{"200 " + site.URL + "/\n", "http_status " + site.URL + "/none Not Found\n", "dns_bad_name http://a..b/ ", "{Requests:3 Responses:2 Failures:map[dns_bad_name:1] "} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in the output:\n%s", want, out)
		}
	}
}

func read(t *testing.T, dir, name string) string {
	b, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
