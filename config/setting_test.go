package config

import (
	"strings"
	"testing"
)

// TestTags checks the rules for the tags of every field.
func TestTags(t *testing.T) {
	c := Default()
	seen := map[string]string{}
	unique := func(kind, name, path string) {
		if first, twice := seen[kind+name]; twice {
			t.Errorf("%s and %s have the same %s %q", first, path, kind, name)
		}
		seen[kind+name] = path
	}
	walk(&c, func(s Section) {
		if s.Path != "" && !strings.HasSuffix(s.Doc, ".") {
			t.Errorf("section %s: doc %q is not a sentence", s.Path, s.Doc)
		}
	}, func(s Setting) {
		unique("path", s.Path, s.Path)
		unique("variable", s.Env, s.Path)
		if s.Flag != "" {
			unique("flag", s.Flag, s.Path)
		}
		if strings.Trim(s.Path, "abcdefghijklmnopqrstuvwxyz_.") != "" || strings.HasSuffix(s.Path, ".") {
			t.Errorf("path %q is not lower-case words", s.Path)
		}
		if !strings.HasSuffix(s.Doc, ".") {
			t.Errorf("%s: doc %q is not a sentence", s.Path, s.Doc)
		}
		switch s.Type() {
		case "duration", "size", "integer":
			lo, hi := s.bounds() // panics on a range that is missing or no number
			if lo < 1 || hi < lo {
				t.Errorf("%s: range %q; 0 belongs into the zero tag", s.Path, s.rng)
			}
		}
		if s.Dev != "" {
			if err := s.Set(s.Dev); err != nil {
				t.Errorf("%s: default under dev: %v", s.Path, err)
			}
		}
	})
}

func TestDefaultIsValid(t *testing.T) {
	c := Default()
	if err := c.Validate(); err != nil {
		t.Fatal(err)
	}
}

func TestSet(t *testing.T) {
	for _, tc := range []struct {
		path, text string
		want       string // as Items joined by commas; "" if an error is expected
		problem    string
	}{
		{"session.ping_interval", "1m30s", "1m30s", ""},
		{"session.ping_interval", "0", "0", ""},
		{"fanout.chunk", "250us", "250us", ""},
		{"session.idle", "24h", "24h", ""},
		{"session.idle", "90m", "1h30m", ""},
		{"session.idle", "25", "", "not a duration"},
		{"session.idle", "-5s", "", "not a duration"},
		{"backlog.bytes", "1048576", "1MiB", ""},
		{"backlog.bytes", "3KiB", "3KiB", ""},
		{"backlog.bytes", "1000 B", "1000", ""},
		{"backlog.bytes", "64kB", "", "not a size"},
		{"backlog.bytes", "-1", "", "not a size"},
		{"backlog.bytes", "9999999999TiB", "", "not a size"},
		{"shards", "8", "8", ""},
		{"shards", "8.5", "", "not a whole number"},
		{"shards", "0x8", "", "not a whole number"},
		{"dev", "true", "true", ""},
		{"dev", "yes", "", "neither true nor false"},
		{"listen", "a, b,,c", "a,b,c", ""},
		{"listen", "", "", ""},
		{"nats.password", "hunter2", "hunter2", ""},
		{"nats.password", "hunter2\n", "hunter2", ""},
		{"nats.password", "hunter2\r\n", "hunter2", ""},
		{"nats.password", " hunter 2 ", " hunter 2 ", ""},
		{"nats.password", "hunter\n2", "", "control character at byte 7"},
		{"nats.token", "token\n\n", "token", ""},
		{"nats.token", "\ttoken", "", "control character at byte 1"},
		{"nats.cluster_password", "pw\n", "pw", ""},
		{"api.keys", "one\n,two\r\n", "one,two", ""},
		{"api.keys", "o\x00ne", "", "control character"},
		{"nats.password", "[redacted]", "", "give the secret itself"},
		{"api.keys", "one,[redacted]", "", "give the secret itself"},
	} {
		c := Default()
		for _, s := range c.Settings() {
			if s.Path != tc.path {
				continue
			}
			err := s.Set(tc.text)
			switch {
			case tc.problem != "":
				if err == nil || !strings.Contains(err.Error(), tc.problem) {
					t.Errorf("%s = %q: error %v; want %q", tc.path, tc.text, err, tc.problem)
				}
			case err != nil:
				t.Errorf("%s = %q: %v", tc.path, tc.text, err)
			case strings.Join(s.Items(), ",") != tc.want:
				t.Errorf("%s = %q: value %q; want %q", tc.path, tc.text, s.Items(), tc.want)
			}
		}
	}
}
