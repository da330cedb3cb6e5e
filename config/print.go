package config

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
)

// Print writes every setting with its value and a comment, as YAML that Load
// can read. Unless secrets is true, a secret setting is written as a comment,
// so that no placeholder can become a password. origins, which may be nil, adds
// the source of each value. inForce, which may be nil, adds the value in force
// on this machine if it differs.
func (c *Config) Print(w io.Writer, origins map[string]Source, inForce *Config, secrets bool) error {
	out := bufio.NewWriter(w)
	became := map[string]string{}
	if inForce != nil {
		for _, s := range inForce.Settings() {
			became[s.Path] = strings.Join(s.Items(), ",")
		}
	}
	walk(c, func(s Section) {
		if s.Path == "" {
			return
		}
		keys := strings.Split(s.Path, ".")
		pad := strings.Repeat("  ", len(keys)-1)
		fmt.Fprintf(out, "\n%s# %s\n%s%s:\n", pad, s.Doc, pad, keys[len(keys)-1])
	}, func(s Setting) {
		note := ""
		if now, ok := became[s.Path]; ok && now != strings.Join(s.Items(), ",") {
			note = " [in force here: " + now + "]"
		}
		s.print(out, origins, note, secrets)
	})
	return out.Flush()
}

// Shown is one setting for encoding/json.
type Shown struct {
	Setting string `json:"setting"`
	Value   any    `json:"value"`            // a text, a number, a boolean, a list of texts or of mappings; durations and sizes as in the file
	Source  string `json:"origin"`           // the source of the value; "default" if it was not set
	Secret  bool   `json:"secret,omitempty"` // the value, or a part of it, is not shown
}

// Show returns what Print writes without secrets.
func (c *Config) Show(origins map[string]Source) []Shown {
	var all []Shown
	for _, s := range c.Settings() {
		items, hidden := s.shown(false)
		one := Shown{Setting: s.Path, Secret: hidden, Source: origins[s.Path].String()}
		switch s.Type() {
		case "list":
			one.Value = append([]string{}, items...) // [] for none, not null
		case "list of mappings":
			list := make([]json.RawMessage, len(items))
			for i, item := range items {
				list[i] = json.RawMessage(item)
			}
			one.Value = list
		case "integer", "true or false":
			one.Value = s.value.Interface()
		default:
			one.Value = items[0]
		}
		all = append(all, one)
	}
	return all
}

func (s *Setting) print(out io.Writer, origins map[string]Source, inForce string, secrets bool) {
	keys := strings.Split(s.Path, ".")
	pad := strings.Repeat("  ", len(keys)-1)
	note := s.Doc
	if allowed := s.Allowed(); allowed != "" {
		note += " (" + allowed + ")"
	} else if s.Zero != "" {
		note += " (empty: " + s.Zero + ")"
	}
	if o, ok := origins[s.Path]; ok {
		note += " [from " + o.String() + "]"
	}
	note += inForce
	items, hidden := s.shown(secrets)
	for i, item := range items {
		items[i] = s.yaml(item)
	}
	value := strings.Join(items, ", ")
	if s.List() {
		value = "[" + value + "]"
	}
	mark := ""
	if hidden {
		mark = "# "
	}
	fmt.Fprintf(out, "%s# %s\n%s%s%s: %s\n", pad, note, pad, mark, keys[len(keys)-1], value)
}

// shown returns the items to print, and whether a part of one is not shown.
func (s *Setting) shown(secrets bool) (items []string, hidden bool) {
	if s.Mappings() {
		return s.mappings(secrets)
	}
	items = append(items, s.Items()...)
	if secrets {
		return items, false
	}
	for i, item := range items {
		switch {
		case s.secret() && item != "":
			items[i], hidden = Redacted, true
		case s.redact == "url":
			if u, err := url.Parse(item); err == nil && u.User != nil {
				u.User = url.User("REDACTED")
				items[i], hidden = strings.Replace(u.String(), "REDACTED", Redacted, 1), true
			}
		}
	}
	return items, hidden
}

// yaml quotes texts that YAML could otherwise read as another type.
func (s *Setting) yaml(item string) string {
	if t := s.Type(); t == "list" || t == "text" && s.Enum == nil {
		return strconv.Quote(item)
	}
	return item
}
