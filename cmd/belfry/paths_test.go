package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pathNames are the headings of the paths in docs/architecture.md.
var pathNames = []string{"Accept to session", "Inbound", "Inbound to a backend", "HTTP push to sockets", "NATS to sockets", "A push that waits", "A read of the API", "Tick", "Shutdown", "Hot restart"}

// pathStep is a function that a path names: its file, and its name with the type of
// its receiver.
type pathStep struct{ file, function string }

// code is what stands between backquotes.
var code = regexp.MustCompile("`([^`]+)`")

// stepsOf returns the functions that a text names. Each belongs to the Go file
// that was named last before it in the same line.
func stepsOf(text string) (steps []pathStep) {
	for line := range strings.Lines(text) {
		file := ""
		for _, m := range code.FindAllStringSubmatch(line, -1) {
			switch name := m[1]; {
			case strings.HasSuffix(name, ".go"):
				file = name
			case file != "":
				steps = append(steps, pathStep{file, name})
			}
		}
	}
	return steps
}

// functionsOf returns the functions and methods of a Go file, the latter as
// Type.method.
func functionsOf(source string) (map[string]bool, error) {
	file, err := parser.ParseFile(token.NewFileSet(), source, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	all := map[string]bool{}
	for _, d := range file.Decls {
		f, ok := d.(*ast.FuncDecl)
		if !ok {
			continue
		}
		name := f.Name.Name
		if f.Recv != nil {
			t := f.Recv.List[0].Type
			if pointer, ok := t.(*ast.StarExpr); ok {
				t = pointer.X
			}
			name = fmt.Sprint(t) + "." + name
		}
		all[name] = true
	}
	return all, nil
}

// TestPaths holds the paths of docs/architecture.md to the functions that
// there are.
func TestPaths(t *testing.T) {
	page, err := os.ReadFile("../../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(page), "\n## Ten paths\n")
	section, _, _ = strings.Cut(section, "\n## ")
	parts := strings.Split(section, "\n### ")[1:]
	if len(parts) != len(pathNames) {
		t.Fatalf("%d paths; want %d", len(parts), len(pathNames))
	}
	for i, part := range parts {
		title, text, _ := strings.Cut(part, "\n")
		steps := stepsOf(text)
		if title != pathNames[i] || len(steps) < 8 {
			t.Errorf("path %q with %d functions; want %q", title, len(steps), pathNames[i])
		}
		for _, s := range steps {
			functions, err := functionsOf(filepath.Join("../..", s.file))
			if err != nil {
				t.Errorf("%s: %v", title, err)
			} else if !functions[s.function] {
				t.Errorf("%s: %s has no function %s", title, s.file, s.function)
			}
		}
	}
}

func TestStepsOf(t *testing.T) {
	got := stepsOf("1. `a/b.go`: `T.f` has `g`; `c.go`: `h`.\n2. `none`, no file.\n")
	want := []pathStep{{"a/b.go", "T.f"}, {"a/b.go", "g"}, {"c.go", "h"}}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v; want %v", got, want)
	}
}
