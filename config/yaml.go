package config

import (
	"errors"
	"fmt"
	"sort"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// file reads one YAML file into settings. It walks the syntax tree itself, so
// that one run finds all faults of a file with their places, and values mean
// the same as in the environment and in flags.
type file struct {
	name     string
	lines    []string
	settings map[string]*Setting
	find     func(path string, origin Source) (*Setting, formerName)
	sections map[string]bool
	sources  map[string]Source // of the settings and sections found in the file
	errs     Errors
}

// read applies data to the settings.
func (f *file) read(data []byte) {
	data, err := plainText(data)
	if err != nil {
		f.errs = append(f.errs, &Error{Source: Source{From: f.name}, Detail: err.Error()})
		return
	}
	f.lines = strings.Split(string(data), "\n")
	tree, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		f.syntax(err)
		return
	}
	seen := false
	for _, doc := range tree.Docs {
		if doc.Body == nil {
			continue
		}
		if seen {
			f.fail(doc.Body, "", "a second document; the file holds one")
			return
		}
		seen = true
		if _, null := doc.Body.(*ast.NullNode); !null {
			f.mapping(doc.Body, "")
		}
	}
}

// mapping reads the keys below the section at path.
func (f *file) mapping(node ast.Node, path string) {
	var entries []*ast.MappingValueNode
	switch n := node.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		f.fail(node, path, "settings are wanted here, key: value")
		return
	}
	prefix := ""
	if path != "" {
		prefix = path + "."
	}
	for _, entry := range entries {
		f.entry(entry, prefix)
	}
}

func (f *file) entry(entry *ast.MappingValueNode, prefix string) {
	key, ok := entry.Key.(ast.ScalarNode)
	if !ok {
		f.fail(entry.Key, "", "a key must be a plain word")
		return
	}
	path := prefix + key.GetToken().Value
	origin := f.at(key.GetToken())
	if first, twice := f.sources[path]; twice {
		f.fail(entry.Key, path, fmt.Sprintf("set twice; first at line %d", first.Line))
		return
	}
	if f.sections[path] {
		f.sources[path] = origin
		if _, null := entry.Value.(*ast.NullNode); !null {
			f.mapping(entry.Value, path)
		}
		return
	}
	s, was := f.find(path, origin)
	if s == nil {
		// The value of an unknown key may be a secret under a misspelt name.
		origin.text = upToColon(origin.text, origin.Column)
		f.errs = append(f.errs, &Error{Source: origin, Setting: path, Detail: "no such setting" + f.suggest(path)})
		return
	}
	if first, twice := f.sources[s.Path]; twice {
		f.fail(entry.Key, path, fmt.Sprintf("the former name of %s, which is set at line %d; remove one of them", s.Path, first.Line))
		return
	}
	f.sources[s.Path] = f.at(entry.Value.GetToken())
	f.value(s, was, entry.Value)
}

// upToColon returns line up to the colon of the key that begins at column.
func upToColon(line string, column int) string {
	runes := []rune(line)
	for i := column - 1; i >= 0 && i < len(runes); i++ {
		if runes[i] == ':' {
			return string(runes[:i+1])
		}
	}
	return line
}

func (f *file) value(s *Setting, was formerName, node ast.Node) {
	list, ok := node.(*ast.SequenceNode)
	if !ok {
		if text, ok := f.scalar(s, node); ok {
			f.set(s, node, was.set(s, text))
		}
		return
	}
	if !s.List() {
		f.fail(node, s.Path, fmt.Sprintf("one %s is wanted, not a list", s.Type()))
		return
	}
	items := make([]string, 0, len(list.Values))
	for _, item := range list.Values {
		text, ok := f.scalar(s, item)
		if !ok {
			return
		}
		items = append(items, text)
	}
	f.set(s, node, s.SetList(items))
}

// scalar returns the text of a value as it is written in the file.
func (f *file) scalar(s *Setting, node ast.Node) (string, bool) {
	switch n := node.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	case *ast.NullNode:
		f.fail(node, s.Path, `no value; write "" for an empty text and [] for an empty list`)
	case *ast.AliasNode, *ast.AnchorNode, *ast.TagNode:
		f.fail(node, s.Path, "anchors, aliases and tags are not supported; write the value itself")
	default:
		f.fail(node, s.Path, fmt.Sprintf("one %s is wanted", s.Type()))
	}
	return "", false
}

func (f *file) set(s *Setting, node ast.Node, err error) {
	if err != nil {
		f.fail(node, s.Path, err.Error())
	}
}

func (f *file) fail(node ast.Node, path, text string) {
	f.errs = append(f.errs, &Error{Source: f.at(node.GetToken()), Setting: path, Detail: text})
}

// at returns the place of a token.
func (f *file) at(t *token.Token) Source {
	o := Source{From: f.name, Line: t.Position.Line, Column: t.Position.Column}
	if o.Line >= 1 && o.Line <= len(f.lines) {
		o.text = strings.TrimSuffix(f.lines[o.Line-1], "\r")
	}
	return o
}

func (f *file) syntax(err error) {
	p := &Error{Source: Source{From: f.name}, Detail: err.Error()}
	var syntax *yaml.SyntaxError
	if errors.As(err, &syntax) && syntax.Token != nil {
		p.Source, p.Detail = f.at(syntax.Token), syntax.Message
	}
	f.errs = append(f.errs, p)
}

// suggest returns the setting that an unknown path probably means: one with the
// same last key in another section, or one with few different letters.
func (f *file) suggest(path string) string {
	last := path[strings.LastIndexByte(path, '.')+1:]
	best, least := "", 3
	paths := make([]string, 0, len(f.settings))
	for known := range f.settings {
		paths = append(paths, known)
	}
	sort.Strings(paths)
	for _, known := range paths {
		if known[strings.LastIndexByte(known, '.')+1:] == last {
			return "; did you mean " + known + "?"
		}
		if d := distance(path, known); d < least {
			best, least = known, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance is the number of letters to insert, delete or replace between a
// and b (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			above := row[j+1]
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			row[j+1] = min(cost, above+1, row[j]+1)
			diagonal = above
		}
	}
	return row[len(b)]
}
