package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"
)

// A setting may be a list of mappings: a slice of structs whose fields are declared
// as those of Config. The fields of the third item have paths like
// gateway.routes[2].url, for errors; they have no variable and no flag of their own.

var errNoMapping = errors.New("a list of mappings is wanted: [{name: …}, …]")

// Mappings says whether the setting is a list of mappings.
func (s *Setting) Mappings() bool {
	return s.List() && s.value.Type().Elem().Kind() == reflect.Struct
}

// itemSettings returns what an item may have, with the defaults.
func (s *Setting) itemSettings() []Setting {
	item := reflect.New(s.value.Type().Elem()).Elem()
	fields, _ := fieldsOf(item, "")
	for i := range fields {
		fields[i].reset()
	}
	return fields
}

// fieldsOf returns the fields of an item as settings, and the paths of its sections.
func fieldsOf(item reflect.Value, prefix string) (fields []Setting, sections map[string]bool) {
	sections = map[string]bool{}
	walkStruct(item, prefix, func(s Section) { sections[s.Path] = true }, func(s Setting) { fields = append(fields, s) })
	return fields, sections
}

// reset gives the setting its default.
func (s *Setting) reset() {
	s.value.SetZero()
	if s.def == "" {
		return
	}
	if err := s.Set(s.def); err != nil {
		panic("config: default of " + s.Path + ": " + err.Error()) // the tag is wrong; every test finds it
	}
}

// eachItem calls fn with every field of every item.
func (s *Setting) eachItem(fn func(Setting)) {
	for i := range s.value.Len() {
		fields, _ := fieldsOf(s.value.Index(i), fmt.Sprintf("%s[%d].", s.Path, i))
		for _, field := range fields {
			fn(field)
		}
	}
}

// mappings reads a list of mappings from the file.
func (f *file) mappings(s *Setting, list *ast.SequenceNode) {
	all := reflect.MakeSlice(s.value.Type(), len(list.Values), len(list.Values))
	for i, node := range list.Values {
		path := fmt.Sprintf("%s[%d]", s.Path, i)
		fields, sections := fieldsOf(all.Index(i), path+".")
		known := keys{}
		for j := range fields {
			fields[j].reset()
			known[fields[j].Path] = &fields[j]
		}
		f.sources[path] = f.at(node.GetToken())
		item := &file{name: f.name, lines: f.lines, settings: known, find: known.find, sections: sections, sources: f.sources}
		item.mapping(node, path)
		f.errs = append(f.errs, item.errs...)
	}
	s.value.Set(all)
}

// keys are the settings of a mapping by path; they have no former names.
type keys map[string]*Setting

func (k keys) find(path string, _ Source) (*Setting, formerName) { return k[path], formerName{} }

// setMappings reads a list of mappings from a variable or a flag; the brackets
// around it may be left out.
func (s *Setting) setMappings(text string) error {
	if text = strings.TrimSpace(text); !strings.HasPrefix(text, "[") {
		text = "[" + text + "]"
	}
	tree, err := parser.ParseBytes([]byte(text), 0, parser.AllowDuplicateMapKey())
	if err != nil || len(tree.Docs) != 1 {
		return errNoMapping // err would repeat text, which may have a password
	}
	list, ok := tree.Docs[0].Body.(*ast.SequenceNode)
	if !ok {
		return errNoMapping
	}
	f := &file{sources: map[string]Source{}}
	f.mappings(s, list)
	if len(f.errs) == 0 {
		return nil
	}
	first := f.errs[0]
	return fmt.Errorf("%s: %s", strings.TrimPrefix(first.Setting, s.Path), first.Detail)
}

// mappings returns each item as JSON, which is YAML too. Fields with their default
// are left out. Without secrets, passwords inside URLs are not shown.
func (s *Setting) mappings(secrets bool) (items []string, hidden bool) {
	for i := range s.value.Len() {
		text, part := structJSON(s.value.Index(i), secrets)
		items, hidden = append(items, text), hidden || part
	}
	return items, hidden
}

func structJSON(v reflect.Value, secrets bool) (text string, hidden bool) {
	var members []string
	t := v.Type()
	for i := range t.NumField() {
		name, value, part := t.Field(i).Tag.Get("yaml"), "", false
		if v.Field(i).Kind() == reflect.Struct {
			if value, part = structJSON(v.Field(i), secrets); value == "{}" {
				continue
			}
		} else if value, part = fieldJSON(t.Field(i), v.Field(i), secrets); value == "" {
			continue
		}
		members, hidden = append(members, `"`+name+`": `+value), hidden || part
	}
	return "{" + strings.Join(members, ", ") + "}", hidden
}

// fieldJSON returns the value of a field as JSON, "" if it is the default.
func fieldJSON(field reflect.StructField, v reflect.Value, secrets bool) (text string, hidden bool) {
	was := Setting{value: reflect.New(v.Type()).Elem(), def: field.Tag.Get("default")}
	was.reset()
	if reflect.DeepEqual(was.value.Interface(), v.Interface()) || v.Kind() == reflect.Slice && v.Len() == 0 && was.value.Len() == 0 {
		return "", false
	}
	s := Setting{value: v, redact: field.Tag.Get("redact")}
	items, hidden := s.shown(secrets)
	switch s.Type() {
	case "list":
		text, _ := json.Marshal(append([]string{}, items...))
		return string(text), hidden
	case "integer", "true or false":
		return items[0], hidden
	}
	quoted, _ := json.Marshal(items[0])
	return string(quoted), hidden
}
