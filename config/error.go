package config

import (
	"fmt"
	"strings"
)

// Source is where a value comes from.
type Source struct {
	From   string // file name, "environment" or "flag"; "" for the default
	Name   string // the variable or flag
	Line   int    // in the file, from 1
	Column int
	text   string // the line itself
}

// String returns "belfry.yaml:3:5", "BELFRY_SHARDS" or "--shards".
func (o Source) String() string {
	switch {
	case o.Line > 0:
		return fmt.Sprintf("%s:%d:%d", o.From, o.Line, o.Column)
	case o.Name != "":
		return o.Name
	case o.From != "":
		return o.From
	}
	return "default"
}

// Error is one fault of the configuration.
type Error struct {
	Source  Source
	Setting string // path of the setting, "" if the fault is not in a setting
	Detail  string // what is wrong and what is allowed
	secret  bool   // the setting's value must not be shown
}

// Error returns "file:line:col: setting: detail". For a file the line follows,
// with a mark below the place.
func (p *Error) Error() string {
	var b strings.Builder
	b.WriteString(p.Source.String())
	if p.Setting != "" {
		b.WriteString(": " + p.Setting)
	}
	b.WriteString(": " + p.Detail)
	if p.Source.Line > 0 {
		number := fmt.Sprintf("%5d", p.Source.Line)
		fmt.Fprintf(&b, "\n%s | %s\n%s | %s^", number, redactLine(p.Source.text, p.secret),
			strings.Repeat(" ", len(number)), indent(p.Source.text, p.Source.Column-1))
	}
	return b.String()
}

// secretWords are words of keys whose values are not repeated in messages,
// because messages end up in logs.
var secretWords = [...]string{"key", "password", "token", "secret", "creds", "url", "route", "://"}

// redactLine returns line without its value if that may be a secret.
func redactLine(line string, secret bool) string {
	lower := strings.ToLower(line)
	for _, word := range secretWords {
		secret = secret || strings.Contains(lower, word)
	}
	if !secret {
		return line
	}
	if i := strings.IndexAny(line, ":-"); i >= 0 {
		return line[:i+1] + " …"
	}
	return "…"
}

// indent returns n columns of blanks, with tabs where line has tabs, so that
// the mark stands below its place whatever width a terminal gives a tab.
func indent(line string, n int) string {
	var b strings.Builder
	runes := []rune(line)
	for i := range n {
		if i < len(runes) && runes[i] == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// Errors are all faults of a configuration. It is an error.
type Errors []*Error

func (ps Errors) Error() string {
	texts := make([]string, len(ps))
	for i, p := range ps {
		texts[i] = p.Error()
	}
	return strings.Join(texts, "\n")
}

// orNil returns nil if there are no faults: nil Errors in an error interface
// would not be equal to nil.
func (ps Errors) orNil() error {
	if len(ps) == 0 {
		return nil
	}
	return ps
}
