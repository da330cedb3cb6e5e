package handover

import (
	"errors"
	"testing"
	"time"

	"belfry/message"
)

// linked returns the bus of a successor and the node that serves it.
func linked(t *testing.T) (*remote, *fakeNode, *link) {
	a, b := pair(t)
	n := &fakeNode{}
	l := &link{t: &transfer{Old: &Old{opt: OldOptions{Node: n}}, c: a}, joined: map[string]int{}}
	r := newRemote(b)
	go func() { _ = r.out.write(nil) }()
	t.Cleanup(r.out.close)
	go func() {
		for {
			f, err := a.read()
			if err != nil {
				return
			}
			l.serve(&f)
		}
	}()
	go func() {
		for {
			f, err := b.read()
			if err != nil {
				return
			}
			r.serve(&f)
		}
	}()
	return r, n, l
}

func TestLink(t *testing.T) {
	r, n, l := linked(t)
	ready := make(chan struct{})
	if !r.joinTopic([]byte("news"), func() { close(ready) }) {
		t.Fatal("not joined")
	}
	<-ready
	if _, there := n.topics.Load("news"); !there {
		t.Error("the old process has not joined the topic")
	}
	err, ok := r.publish(&message.Message{ID: "1", Payload: []byte("x")}, time.Second)
	if err != nil || !ok {
		t.Errorf("publish: %v, %t", err, ok)
	}
	err, _ = r.publish(&message.Message{}, 0)
	var refused *PublishError
	if !errors.As(err, &refused) || refused.Code != "bad_request" || refused.Field != "id" {
		t.Errorf("a message that is refused: %v", err)
	}
	again := make(chan struct{})
	r.joinTopic([]byte("news"), func() { close(again) })
	<-again
	r.leaveTopic([]byte("news"))
	eventually(t, "left once", func() bool { _, there := n.topics.Load("news"); return !there })
	n.topics.Store("news", true) // the second time is still joined
	l.end()
	if _, there := n.topics.Load("news"); there {
		t.Error("after the hand-over the topic is still joined for the successor")
	}
}

// Who waits when the node gets its own bus is answered, and everything goes there.
func TestLinkEnds(t *testing.T) {
	a, b := pair(t)
	r := newRemote(b)
	go func() { _ = r.out.write(nil) }()
	t.Cleanup(r.out.close)
	ready, result := make(chan struct{}), make(chan error, 1)
	r.joinTopic([]byte("t"), func() { close(ready) })
	go func() { err, _ := r.publish(&message.Message{ID: "1"}, 0); result <- err }()
	for range 2 {
		if _, err := a.read(); err != nil {
			t.Fatal(err)
		}
	}
	r.end()
	<-ready
	if err := <-result; !errors.Is(err, errOver) {
		t.Errorf("%v", err)
	}
	if r.joinTopic([]byte("t"), nil) || r.leaveTopic([]byte("t")) {
		t.Error("topics still go to the old process")
	}
	if _, ok := r.publish(&message.Message{}, 0); ok {
		t.Error("messages still go to the old process")
	}
}
