package message

import (
	"errors"
	"path"
	"strings"
	"testing"
)

func TestPatternsThatAreRefused(t *testing.T) {
	for _, pattern := range []string{
		"", ".", "*.", ".*", "a*", "a.*b", "a.*.b", "a.**", "**", "a..b", "a..*", ">", "a.>", "a b", "a.{uid", "a.uid}", "a.{UID}",
		"a.{uid}x", "x{uid}", "{uid}{uid}", "{uid}*", "a.{sid}", "ä", "a.\x00", strings.Repeat("a", MaxTopicLen-1) + ".*",
		strings.Repeat("{uid}.", 22) + "a",
	} {
		var field *FieldError
		if err := CheckPattern(pattern); !errors.As(err, &field) || field.Field != "pattern" {
			t.Errorf("%q: %v", pattern, err)
		}
		if _, err := CompilePatterns([]string{"news", pattern}); err == nil {
			t.Errorf("%q compiled", pattern)
		}
	}
	if err := CheckPatterns([]string{strings.Repeat("a", 500)}); err == nil || len(err.Error()) > 400 {
		t.Errorf("%v", err)
	}
}

func TestListsOfPatternsHaveBounds(t *testing.T) {
	long := strings.Repeat("a", MaxTopicLen)
	for _, tt := range []struct {
		n    int
		each string
		ok   bool
	}{{MaxPatterns, "a.*", true}, {MaxPatterns + 1, "a.*", false}, {31, long, true}, {32, long, false}} {
		list := make([]string, tt.n)
		for i := range list {
			list[i] = tt.each
		}
		if err := CheckPatterns(list); (err == nil) != tt.ok {
			t.Errorf("%d of %d bytes: %v", tt.n, len(tt.each), err)
		}
	}
}

func TestPatternsMatch(t *testing.T) {
	for _, tt := range []struct {
		pattern, topic, uid string
		match               bool
	}{
		{"news", "news", "", true},
		{"news", "news.a", "", false},
		{"news", "new", "", false},
		{"news.*", "news.a", "", true},
		{"news.*", "news.a.b", "", true},
		{"news.*", "news", "", false},
		{"news.*", "newsa.b", "", false},
		{"*", "a", "", true},
		{"*", "a.b", "", true},
		{"inbox.{uid}", "inbox.ann", "ann", true},
		{"inbox.{uid}", "inbox.bob", "ann", false},
		{"inbox.{uid}", "inbox.ann.x", "ann", false},
		{"inbox.{uid}", "inbox.an", "ann", false},
		{"inbox.{uid}", "inbox.ann", "", false},
		{"inbox.{uid}.*", "inbox.ann.x", "ann", true},
		{"inbox.{uid}.*", "inbox.ann", "ann", false},
		{"{uid}", "ann", "ann", true},
		{"{uid}.{uid}", "ann.ann", "ann", true},
		{"{uid}.{uid}", "ann.bob", "ann", false},
		// A uid that is no token: it is neither a pattern nor several tokens.
		{"inbox.{uid}", "inbox.a.b", "a.b", false},
		{"inbox.{uid}", "inbox.x", "*", false},
		{"inbox.{uid}", "inbox.*", "*", false},
		{"inbox.{uid}", "inbox.{uid}", "{uid}", false},
		{"inbox.{uid}.x", "inbox.a.x", "a.x", false},
		{"inbox.{uid}.*", "inbox.bob.x", "*", false},
	} {
		p, err := CompilePatterns([]string{"other", tt.pattern})
		if err != nil {
			t.Fatal(err)
		}
		valid := CheckTopic(tt.topic) == nil
		if got := valid && p.Match(tt.topic, tt.uid); got != tt.match {
			t.Errorf("%q, %q for %q: %v", tt.pattern, tt.topic, tt.uid, got)
		}
		if got := valid && MatchPattern([]byte(tt.pattern), tt.topic, []byte(tt.uid)); got != tt.match {
			t.Errorf("%q, %q for %q as bytes: %v", tt.pattern, tt.topic, tt.uid, got)
		}
	}
	var none *Patterns
	if none.Match("a", "") || none.All() || none.ForUsers() {
		t.Error("a nil *Patterns matches")
	}
	p, _ := CompilePatterns([]string{"a", "b.{uid}"})
	if all, _ := CompilePatterns([]string{"*"}); p.All() || !p.ForUsers() || !all.All() || all.ForUsers() {
		t.Error("wrong about its own patterns")
	}
}

func TestIsToken(t *testing.T) {
	for uid, want := range map[string]bool{"ann": true, "a@b": true, "a:b/c": true, "a.b": false, "*": false, "": false, "a b": false, "ä": false, "{uid}": false} {
		if IsToken(uid) != want {
			t.Errorf("%q: %v", uid, !want)
		}
	}
}

// FuzzMatchPattern compares with the shell patterns of package path.
func FuzzMatchPattern(f *testing.F) {
	f.Add("a.{uid}.*", "a.u.b", "u")
	f.Add("{uid}", "a.b", "a.b")
	f.Add("a.*", "a.*", "*")
	f.Fuzz(func(t *testing.T, pattern, topic, uid string) {
		if CheckPattern(pattern) != nil || CheckTopic(topic) != nil || uid != "" && CheckUID(uid) != nil {
			return
		}
		want := false
		// A slash takes the place of the dot, because * of package path does not match it.
		if fits := IsToken(uid); fits || !strings.Contains(pattern, UIDPlaceholder) {
			exact := strings.ReplaceAll(pattern, UIDPlaceholder, uid)
			prefix, wild := strings.CutSuffix(exact, "*")
			want, _ = path.Match(strings.ReplaceAll(exact, "/", "|"), strings.ReplaceAll(topic, "/", "|"))
			if wild && want != (strings.HasPrefix(topic, prefix) && len(topic) > len(prefix)) {
				t.Fatalf("two ways to match %q with %q", exact, topic)
			}
		}
		if got := MatchPattern(pattern, topic, uid); got != want {
			t.Errorf("%q, %q for %q: %v", pattern, topic, uid, got)
		}
	})
}

func BenchmarkPatterns(b *testing.B) {
	p, _ := CompilePatterns([]string{"news", "public.*", "inbox.{uid}"})
	b.ReportAllocs()
	for b.Loop() {
		if !p.Match("inbox.ann", "ann") {
			b.Fatal()
		}
	}
}
