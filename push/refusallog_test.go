package push

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// Requests and pushes are counted under the name of the key, and never under a text
// that a client sends.
func TestKeysAreCounted(t *testing.T) {
	s, ts, _ := start(t, Options{Keys: []Key{{"shop", "shop-key"}, {"", "old-key"}, {"back", "back-key"}, {"", "older-key"}}})
	for key, path := range map[string]string{"shop-key": "/v1/all", "old-key": "/v1/all", "older-key": "/v1/nothing", "wrong-key": "/v1/all"} {
		post(t, ts, path, "x", "Authorization: Bearer "+key)
	}
	post(t, ts, "/v1/batch", `{"to":{"all":true},"text":"1"}`+"\nbad\n"+`{"to":{"all":true},"text":"2"}`, "Authorization: Bearer shop-key")
	post(t, ts, "/v1/all", "x")
	request(t, ts, "GET", "/healthz", nil)
	want := []KeyCount{{"none", 2, 0}, {"unnamed", 2, 1}, {"shop", 2, 3}, {"back", 0, 0}}
	if got := s.Stats().Keys; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, want %v", got, want)
	}
	if _, err := New(Options{Publisher: &recorder{}, Keys: []Key{{"a", "x"}, {"a", "y"}}}); err == nil || !strings.Contains(err.Error(), "key 2 has the name a") {
		t.Errorf("two keys with the same name: %v", err)
	}
}

// A refused key is logged by its name, and never with its text. If there are many,
// most lines are at debug.
func TestRefusalsAreLogged(t *testing.T) {
	core, lines := observer.New(zapcore.DebugLevel)
	_, keyed, _ := start(t, Options{Keys: []Key{{"shop", "shop-key"}}, Log: zap.New(core)})
	_, open, _ := start(t, Options{Log: zap.New(core)})
	post(t, keyed, "/v1/all", "x", "Authorization: Bearer wrong-key")
	post(t, keyed, "/v1/users/u1", "x")
	post(t, open, "/v1/all", "x", "Origin: null")
	post(t, open, "/v1/all", "x", "Host: evil.example")
	post(t, keyed, "/v1/all", "x", "Authorization: Bearer shop-key")
	want := []map[string]any{
		{"route": "/v1/all", "key": "unknown key", "status": int64(401), "cause": "unauthorized"},
		{"route": "/v1/users/{uid}", "key": "none", "status": int64(401), "cause": "unauthorized"},
		{"route": "/v1/all", "key": "none", "status": int64(403), "cause": "foreign-origin"},
		{"route": "/v1/all", "key": "none", "status": int64(403), "cause": "foreign-host"},
	}
	got := lines.TakeAll()
	if len(got) != len(want) {
		t.Fatalf("%d lines, want %d", len(got), len(want))
	}
	for i, line := range got {
		fields := line.ContextMap()
		for name, value := range want[i] {
			if fields[name] != value {
				t.Errorf("line %d: %s is %v, want %v", i+1, name, fields[name], value)
			}
		}
		if remote, _ := fields["remote"].(string); !strings.HasPrefix(remote, "127.0.0.1:") || line.Level != zapcore.InfoLevel {
			t.Errorf("line %d: %v at %v", i+1, fields, line.Level)
		}
		if text := fmt.Sprint(line); strings.Contains(text, "wrong-key") || strings.Contains(text, "shop-key") {
			t.Errorf("a key is in the log: %s", text)
		}
	}
	for range 2 * logBurst {
		post(t, keyed, "/v1/all", "x")
	}
	levels := map[zapcore.Level]int{}
	for _, line := range lines.TakeAll() {
		levels[line.Level]++
	}
	if levels[zapcore.DebugLevel] == 0 || levels[zapcore.InfoLevel]+levels[zapcore.DebugLevel] != 2*logBurst {
		t.Errorf("a flood: %v", levels)
	}
}

// The bucket fills again, and the next line has the number of lines that were not
// shown.
func TestRefusalLogBucket(t *testing.T) {
	l := newRefusalLog(zap.NewNop())
	now := time.Now()
	for i := range logBurst + 3 {
		if level, _ := l.level(now); (level == zapcore.InfoLevel) != (i < logBurst) {
			t.Errorf("line %d at %v", i+1, level)
		}
	}
	now = now.Add(time.Duration(1.1 / logRate * float64(time.Second)))
	if level, silent := l.level(now); level != zapcore.InfoLevel || silent != 3 {
		t.Errorf("%v, %d not shown", level, silent)
	}
	if level, _ := l.level(now); level != zapcore.DebugLevel {
		t.Error("more than the bucket holds")
	}
}

// The durations of a route are a histogram of every request.
func TestDurations(t *testing.T) {
	s, ts, _ := start(t, Options{})
	for range 3 {
		post(t, ts, "/v1/all", "x")
	}
	post(t, ts, "/v1/nothing", "x")
	until(t, func() bool { return len(s.Stats().Durations) == 2 })
	for _, d := range s.Stats().Durations {
		sum := uint64(0)
		for _, n := range d.Counts {
			sum += n
		}
		want := map[string]uint64{"/v1/all": 3, "other": 1}[d.Route]
		if d.Count != want || sum != want || d.Sum <= 0 {
			t.Errorf("%+v", d)
		}
	}
	var d duration
	for _, took := range []time.Duration{0, DurationBounds[0], DurationBounds[0] + 1, time.Hour} {
		d.add(took)
	}
	if d.counts[0].Load() != 2 || d.counts[1].Load() != 1 || d.count.Load() != 4 {
		t.Errorf("%d, %d of %d", d.counts[0].Load(), d.counts[1].Load(), d.count.Load())
	}
}
