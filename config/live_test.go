package config

import (
	"reflect"
	"slices"
	"testing"
)

// TestEveryEffect: each setting has one entry in the table, and each entry a setting.
func TestEveryEffect(t *testing.T) {
	c := Default()
	entries := append(live[:], restart[:]...)
	for _, s := range c.Settings() {
		if EffectOf(s.Path) == 0 {
			t.Errorf("%s: add it to live or restart in live.go", s.Path)
		}
		entries = slices.DeleteFunc(entries, func(e string) bool { return e == s.Path })
	}
	if len(entries) > 0 {
		t.Errorf("no such settings: %v", entries)
	}
	for _, path := range restart {
		if slices.Contains(live[:], path) {
			t.Errorf("%s is both live and restart", path)
		}
	}
	if !slices.IsSorted(live[:]) {
		t.Error("live is not sorted")
	}
}

func loadArgs(t *testing.T, args ...string) *Loaded {
	t.Helper()
	in := Inputs{}
	for i := 0; i < len(args); i += 2 {
		in.Flags = append(in.Flags, Assignment{Flag: "--set", Path: args[i], Value: args[i+1]})
	}
	loaded, err := Load(in)
	if err != nil {
		t.Fatal(err)
	}
	return loaded
}

func TestReload(t *testing.T) {
	was := loadArgs(t, "log.level", "info", "shards", "2")
	next := loadArgs(t, "log.level", "debug", "shards", "3", "upgrade.origins", "https://a.example")
	for range 2 { // what needs a restart is named again, until there is one
		r, err := Reload(&was.Config, next)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(r.Applied, []string{"upgrade.origins", "log.level"}) || !slices.Equal(r.Restart, []string{"shards"}) {
			t.Errorf("applied %v, restart %v", r.Applied, r.Restart)
		}
		if all := len(was.Settings()); r.Unchanged != all-3 {
			t.Errorf("%d unchanged of %d", r.Unchanged, all)
		}
		if r.Config.Shards != 2 || r.Config.Log.Level != "debug" || was.Log.Level != "info" {
			t.Errorf("shards %d, level %s, before %s", r.Config.Shards, r.Config.Log.Level, was.Log.Level)
		}
	}
}

// TestEverySettingNamed: a change of any setting without a live effect is named.
func TestEverySettingNamed(t *testing.T) {
	for _, path := range restart {
		was, next := loadArgs(t), loadArgs(t)
		for _, s := range next.Settings() {
			if s.Path != path {
				continue
			}
			switch s.Type() {
			case "true or false":
				s.value.SetBool(!s.value.Bool())
			case "integer", "duration", "size":
				s.value.SetInt(s.value.Int() + 1)
			case "text":
				s.value.SetString(s.value.String() + "x")
			default:
				s.value.Set(reflect.Append(s.value, reflect.Zero(s.value.Type().Elem())))
			}
		}
		r, err := Reload(&was.Config, next)
		if err != nil || !slices.Equal(r.Restart, []string{path}) || len(r.Applied) > 0 {
			t.Errorf("%s: restart %v, applied %v, %v", path, r.Restart, r.Applied, err)
		}
	}
}

// TestReloadFits: a live setting that is valid only with a new value of another one,
// which needs a restart, is refused.
func TestReloadFits(t *testing.T) {
	was := loadArgs(t, "auth.cookie", "session", "auth.jwt.secret", "01234567890123456789012345678901", "auth.jwt.issuer", "i", "upgrade.origins", "https://a.example")
	next := loadArgs(t, "auth.cookie", "session", "auth.jwt.secret", "01234567890123456789012345678901", "auth.jwt.issuer", "i", "upgrade.origins", "*", "auth.cookie_any_origin", "true")
	if _, err := Reload(&was.Config, next); err == nil {
		t.Fatal("any page could act in the name of its visitors")
	} else {
		t.Log(err)
	}
}
