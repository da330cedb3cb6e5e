package main

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"belfry/config"
)

// TestCommandReads: the code of this command reads every setting of inCommand.
// Reads in machine.resolve, which only checks for 0, do not count.
func TestCommandReads(t *testing.T) {
	read := settingsRead(t)
	defaults := config.Default()
	for _, path := range inCommand {
		if !slices.ContainsFunc(defaults.Settings(), func(s config.Setting) bool { return s.Path == path }) {
			t.Errorf("there is no setting %s", path)
		} else if !read[path] {
			t.Errorf("%s has no effect: no code reads it", path)
		}
	}
	if len(read) < 80 {
		t.Errorf("%d settings read only: %v", len(read), read)
	}
}

// settingsRead returns the paths of the settings whose fields the package's
// code reads.
func settingsRead(t *testing.T) map[string]bool {
	t.Helper()
	fset := token.NewFileSet()
	info := &types.Info{Selections: map[*ast.SelectorExpr]*types.Selection{}}
	check := types.Config{Importer: onlyConfig{fset, map[string]*types.Package{}}, Error: func(error) {}}
	files := parsePackage(t, fset, ".")
	check.Check("main", fset, files, info) // reports the packages that are missing
	read := map[string]bool{}
	for _, file := range files {
		written := map[ast.Expr]bool{}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				return !ofMachine(n)
			case *ast.AssignStmt:
				for _, left := range n.Lhs {
					written[left] = true
				}
			case *ast.SelectorExpr:
				if sel := info.Selections[n]; sel != nil && !written[n] {
					if path := settingOf(sel.Recv(), sel.Obj().Name()); path != "" {
						read[path] = true
					}
				}
			}
			return true
		})
	}
	return read
}

// ofMachine says whether a function is a method of machine, which replaces
// settings that are 0.
func ofMachine(f *ast.FuncDecl) bool {
	if f.Recv == nil {
		return false
	}
	name, ok := f.Recv.List[0].Type.(*ast.Ident)
	return ok && name.Name == "machine"
}

// settingOf returns the path of a field of one of config's sections, "" for
// anything else.
func settingOf(section types.Type, field string) string {
	if p, ok := section.(*types.Pointer); ok {
		section = p.Elem()
	}
	named, ok := section.(*types.Named)
	if !ok || named.Obj().Pkg() == nil || named.Obj().Pkg().Path() != "belfry/config" {
		return ""
	}
	return paths[named.Obj().Name()+"."+field]
}

// paths maps the type of a section and the name of a field to the setting.
var paths = func() map[string]string {
	all := map[string]string{}
	var walk func(reflect.Type, string)
	walk = func(section reflect.Type, prefix string) {
		for i := range section.NumField() {
			field := section.Field(i)
			path := prefix + field.Tag.Get("yaml")
			if field.Type.Kind() == reflect.Struct {
				walk(field.Type, path+".")
			} else {
				all[section.Name()+"."+field.Name] = path
			}
		}
	}
	walk(reflect.TypeFor[config.Config](), "")
	return all
}()

// onlyConfig imports package config from its source. Other packages are empty,
// because the test does not need them.
type onlyConfig struct {
	fset *token.FileSet
	done map[string]*types.Package
}

func (o onlyConfig) Import(path string) (*types.Package, error) {
	if p := o.done[path]; p != nil {
		return p, nil
	}
	name := path[strings.LastIndexByte(path, '/')+1:]
	p := types.NewPackage(path, name)
	if path == "belfry/config" {
		files, err := parseFiles(o.fset, "../../config")
		if err != nil {
			return nil, err
		}
		check := types.Config{Importer: o, Error: func(error) {}}
		p, _ = check.Check(path, o.fset, files, nil)
	}
	p.MarkComplete()
	o.done[path] = p
	return p, nil
}

func parsePackage(t *testing.T, fset *token.FileSet, dir string) []*ast.File {
	t.Helper()
	files, err := parseFiles(fset, dir)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func parseFiles(fset *token.FileSet, dir string) (files []*ast.File, err error) {
	names, err := filepath.Glob(filepath.Join(dir, "*.go"))
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	return files, err
}
