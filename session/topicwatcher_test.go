package session

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
)

// topicTable is what a TopicWatcher makes of what it is told: users by topic and session.
type topicTable struct {
	mu    sync.Mutex
	here  map[string]string
	wrong []string
}

func (o *topicTable) Joined(topic, sid, uid string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := topic + " " + sid
	if _, there := o.here[key]; there || sid == "" {
		o.wrong = append(o.wrong, "joined twice: "+key)
	}
	o.here[key] = uid
}

func (o *topicTable) Left(topic, sid, uid string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	key := topic + " " + sid
	if was, there := o.here[key]; !there || was != uid {
		o.wrong = append(o.wrong, fmt.Sprintf("left: %s of %q, which was there: %v of %q", key, uid, there, was))
	}
	delete(o.here, key)
}

func (o *topicTable) is(want string) func() bool {
	return func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		var all []string
		for key, uid := range o.here {
			topic, _, _ := strings.Cut(key, " ")
			all = append(all, topic+" "+uid)
		}
		slices.Sort(all)
		return strings.Join(all, ", ") == want
	}
}

// A TopicWatcher has the right table of the topics that it is told of, whoever makes and
// ends subscriptions: the request, commands, the API, a login, the end of a session.
func TestTopicWatcher(t *testing.T) {
	o := &topicTable{here: map[string]string{}}
	r := newRig(t, Options{TopicWatcher: o, JoinLeave: []string{"room.*"}})
	ann := r.mustWire("/ws?uid=ann&topic=room.1&topic=news", "belfry.v1")
	eventually(t, "opened", o.is("room.1 ann"))
	none := r.mustWire("/ws?topic=room.1", "belfry.v1")
	eventually(t, "a session without a user", o.is("room.1 , room.1 ann"))
	ann.send(gobwas.OpText, []byte(`{"type":"sub","topics":["room.2","room.3","other"]}`))
	eventually(t, "subscribed", o.is("room.1 , room.1 ann, room.2 ann, room.3 ann"))
	ann.send(gobwas.OpText, []byte(`{"type":"unsub","topics":["room.1","other"]}`))
	eventually(t, "unsubscribed", o.is("room.1 , room.2 ann, room.3 ann"))
	if n, err := r.Leave(t.Context(), Selection{UID: "ann"}, "room.2"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	eventually(t, "left", o.is("room.1 , room.3 ann"))
	none.Close()
	eventually(t, "closed", o.is("room.3 ann"))
	if n, err := r.End(t.Context(), Selection{UID: "ann"}, 4000, ""); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	eventually(t, "ended", o.is(""))
	if len(o.wrong) > 0 {
		t.Errorf("%q", o.wrong)
	}
	if _, err := New(Options{TopicWatcher: o, JoinLeave: []string{"inbox.{uid}"}}); err == nil || !strings.Contains(err.Error(), "JoinLeave") {
		t.Errorf("a pattern with {uid}: %v", err)
	}
}

// What tells of subscribers goes to clients of belfry.v1, and replaces no pushed message
// under the policy latest-only.
func TestMembershipMessages(t *testing.T) {
	r := newRig(t, Options{})
	plain, v1 := r.mustWire("/ws?uid=a&topic=room.1", ""), r.mustWire("/ws?uid=b&topic=room.1", "belfry.v1")
	eventually(t, "open", func() bool { return r.Stats().Sessions == 2 })
	told := &message.Message{ID: "m1", Target: message.ToTopics("room.1"), Membership: message.MemberCount, Payload: []byte(`{"count":2}`)}
	pushed := &message.Message{ID: "m2", Target: message.ToTopics("room.1"), Payload: []byte("hi")}
	for _, m := range []*message.Message{told, pushed} {
		d, err := r.Prepare(m)
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Deliver(); err != nil {
			t.Fatal(err)
		}
	}
	if _, got, err := plain.frame(); err != nil || string(got) != "hi" {
		t.Errorf("plain: %q, %v", got, err)
	}
	var lines []string
	for len(lines) < 3 {
		_, got, err := v1.frame()
		if err != nil {
			t.Fatal(err, lines)
		}
		lines = append(lines, string(got))
	}
	if lines[1] != `{"type":"count","topic":"room.1","count":2}` || lines[2] != `{"type":"msg","id":"m2","topic":"room.1","data":"hi"}` {
		t.Errorf("%q", lines)
	}
	if conflationKey(told) == conflationKey(pushed) {
		t.Error("a count replaces a push")
	}
}
