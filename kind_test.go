package hostwise_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"strings"
	"testing"

	"github.com/hostwise-go/hostwise"
)

// The source is read so that a new constant cannot be forgotten here or in
// the table of package hostwise.
func TestKinds_EveryConstantHasItsWords(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "kind.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]string{} // by constant
	texts := map[string]string{}  // by constant: the entry's text in kinds
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		typ, _ := spec.Type.(*ast.Ident)
		switch {
		case typ != nil && typ.Name == "Kind":
			for i, name := range spec.Names {
				values[name.Name] = literal(t, spec.Values[i])
			}
		case spec.Names[0].Name == "kinds":
			for _, e := range spec.Values[0].(*ast.CompositeLit).Elts {
				entry := e.(*ast.KeyValueExpr)
				for _, f := range entry.Value.(*ast.CompositeLit).Elts {
					if field := f.(*ast.KeyValueExpr); field.Key.(*ast.Ident).Name == "text" {
						texts[entry.Key.(*ast.Ident).Name] = literal(t, field.Value)
					}
				}
			}
		}
		return true
	})
	if len(values) < 50 {
		t.Fatalf("found %d constants of type Kind in kind.go", len(values))
	}
	golden := map[string]string{}
	for entry := range strings.FieldsSeq(kindTable) {
		word, flags, _ := strings.Cut(entry, ":")
		golden[word] = flags
	}
	constants := map[string]string{} // by value
	for name, value := range values {
		if texts[name] == "" {
			t.Errorf("%s has no text in kinds", name)
		}
		if other := constants[value]; other != "" {
			t.Errorf("%s and %s are both %q", name, other, value)
		}
		constants[value] = name
		flags, ok := golden[value]
		if !ok {
			t.Errorf("%s = %q is not in this test's table", name, value)
		}
		k := hostwise.Kind(value)
		if got, want := k.Timeout(), strings.Contains(flags, "t"); got != want {
			t.Errorf("%s.Timeout() = %v, want %v", name, got, want)
		}
		if got, want := k.Retryable(), strings.Contains(flags, "r"); got != want {
			t.Errorf("%s.Retryable() = %v, want %v", name, got, want)
		}
	}
	for word := range golden {
		if constants[word] == "" {
			t.Errorf("no constant is %q", word)
		}
	}
	for name := range texts {
		if values[name] == "" {
			t.Errorf("kinds has an entry for %s, which is no constant of type Kind", name)
		}
	}
}

// literal returns the value of a string literal.
func literal(t *testing.T, e ast.Expr) string {
	lit, ok := e.(*ast.BasicLit)
	if !ok {
		t.Fatalf("not a literal: %v", e)
	}
	s, err := strconv.Unquote(lit.Value)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
