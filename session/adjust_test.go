package session

import (
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"
)

// Limits and permissions change for sessions that are open, on every shard, and back.
// What a session has it keeps.
func TestAdjust(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), Authenticator: &Open{Unproven: true}, Subscribe: []string{"a.*"}, MaxTopics: 3})
	w := r.v1("/ws")
	ask := func(command, answer string) {
		t.Helper()
		w.Write(repeated(1, gobwas.OpText, command))
		w.expect(t, answer)
	}
	adjust := func(o Options) {
		t.Helper()
		apply, err := r.Adjust(o)
		if err != nil {
			t.Fatal(err)
		}
		apply()
	}
	ask(`{"type":"sub","topics":["a.1","a.2"]}`, `"ack"`)
	ask(`{"type":"sub","topics":["b.1"]}`, `"forbidden"`)
	adjust(Options{Subscribe: []string{"b.*"}, MaxTopics: 1})
	ask(`{"type":"sub","topics":["a.3"]}`, `"forbidden"`)
	ask(`{"type":"sub","topics":["b.1"]}`, `"too_many_topics"`)
	ask(`{"type":"unsub","topics":["a.1"]}`, `"ack"`)
	ask(`{"type":"unsub","topics":["a.2"]}`, `"ack"`)
	ask(`{"type":"sub","topics":["b.1"]}`, `"ack"`)

	ping := `{"type":"ping"}`
	adjust(Options{Subscribe: []string{"b.*"}, Rates: Rates{Messages: 2, MessageBurst: 5, Grace: maxTime}})
	w.Write(repeated(100, gobwas.OpText, ping))
	if n := w.acks(t, `"code":"rate_limited"`); n != 5 {
		t.Errorf("told after %d acks, want 5", n)
	}
	adjust(Options{Subscribe: []string{"b.*"}}) // no limit: what waits is read at the next tick
	r.tick(1)
	for range 95 {
		w.expect(t, `"ack"`)
	}

	if _, err := r.Adjust(Options{Subscribe: []string{"b b"}}); err == nil || !strings.Contains(err.Error(), "Subscribe") {
		t.Errorf("a pattern that is none: %v", err)
	}
	if _, err := r.Adjust(Options{MaxTopics: 1 << 20}); err == nil || !strings.Contains(err.Error(), "MaxTopics") {
		t.Errorf("too many topics: %v", err)
	}
}
