package session

import (
	"errors"
	"strings"
	"sync"
	"testing"

	gobwas "github.com/gobwas/ws"
)

// asked is a TopicPresence whose answers the test gives.
type asked struct {
	mu     sync.Mutex
	topics []string
	answer []func([]byte, error)
}

func (a *asked) Ask(topic string, answer func([]byte, error)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.topics, a.answer = append(a.topics, topic), append(a.answer, answer)
}

func (a *asked) n() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.topics)
}

// A client gets an answer for topics that a pattern names, and an error for others, at
// the limit, and if the question failed.
func TestPresenceCommand(t *testing.T) {
	a := &asked{}
	r := newRig(t, Options{TopicPresence: a, Presence: []string{"room.*", "inbox.{uid}"}, MaxAsking: 2})
	w := r.mustWire("/ws?uid=ann", "belfry.v1")
	ask := func(ref, topic string) {
		w.send(gobwas.OpText, []byte(`{"type":"presence","ref":`+ref+`,"topic":"`+topic+`"}`))
	}
	expect := func(want string) {
		t.Helper()
		for {
			_, got, err := w.frame()
			if err != nil {
				t.Fatalf("%v; want %s", err, want)
			}
			if strings.Contains(string(got), `"hello"`) {
				continue
			}
			if !strings.HasPrefix(string(got), want) {
				t.Errorf("%s; want %s", got, want)
			}
			return
		}
	}
	ask("1", "news")
	expect(`{"type":"err","ref":1,"code":"forbidden","field":"topic"`)
	ask("2", "inbox.bob")
	expect(`{"type":"err","ref":2,"code":"forbidden"`)
	ask("3", "room.1")
	ask("4", "inbox.ann")
	eventually(t, "asked", func() bool { return a.n() == 2 })
	ask("5", "room.1")
	expect(`{"type":"err","ref":5,"code":"unavailable"`)
	a.answer[1]([]byte(`{"topic":"inbox.ann","count":1}`), nil)
	a.answer[1]([]byte(`{}`), nil) // once only
	expect(`{"type":"ack","ref":4,"data":{"topic":"inbox.ann","count":1}}`)
	a.answer[0](nil, errors.New("away"))
	expect(`{"type":"err","ref":3,"code":"unavailable"`)
	if n := r.asking.Load(); n != 0 {
		t.Errorf("%d questions wait", n)
	}
	ask("6", "room.1")
	eventually(t, "asked", func() bool { return a.n() == 3 })
	w.Close()
	eventually(t, "closed", func() bool { return r.Stats().Sessions == 0 })
	a.answer[2]([]byte(`{}`), nil) // to nobody
	if n := r.asking.Load(); n != 0 || r.Stats().Limits["session.max_presence"] != 1 {
		t.Errorf("%d questions wait, %v", n, r.Stats().Limits)
	}
}
