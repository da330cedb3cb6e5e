package session

import (
	"testing"

	"belfry/message"
)

// TestExcludedTopics has sessions that are subscribed to an excluded topic miss
// the message, whichever way it is for them, and no others.
func TestExcludedTopics(t *testing.T) {
	r := newRig(t, Options{})
	muted := r.dial("/ws?uid=u&topic=news&topic=muted")
	also := r.dial("/ws?uid=u&topic=news&topic=off&topic=x")
	open := r.dial("/ws?uid=u&topic=news&topic=x")
	plain := r.dial("/ws?uid=u")
	send := func(to message.Target, text string) {
		t.Helper()
		to.ExcludeTopics = []string{"nobody-here", "muted", "off"}
		if err := r.push(&message.Message{Target: to, Payload: []byte(text)}); err != nil {
			t.Fatal(err)
		}
	}
	send(message.ToAll(), "all")
	send(message.ToTopics("news"), "topic")
	send(message.ToTopics("news", "x"), "topics")
	send(message.ToUsers("u"), "user")
	r.deliver(message.ToAll(), "end")
	open.wantSet("all", "topic", "topics", "user", "end")
	plain.wantSet("all", "user", "end")
	muted.want("end")
	also.want("end")
}

// TestExcludedTopicsInPasses has messages with and without excluded topics in
// one fan-out run.
func TestExcludedTopicsInPasses(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller()})
	muted, open := r.dial("/ws?topic=muted"), r.dial("/ws")
	release := r.block(0)
	without := message.ToAll()
	without.ExcludeTopics = []string{"muted"}
	for _, m := range []*message.Message{
		{Target: message.ToAll(), Payload: []byte("1")}, {Target: without, Payload: []byte("2")}, {Target: message.ToAll(), Payload: []byte("3")},
	} {
		if err := r.push(m); err != nil {
			t.Fatal(err)
		}
	}
	release()
	for _, want := range []string{"1", "2", "3"} {
		open.want(want)
	}
	muted.want("1")
	muted.want("3")
}
