package broadcast

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/broadcast/line"
	"belfry/message"
)

// A node that was handed over and is closed takes nothing more: what comes is for its
// successor.
func TestClosedAfterHandOver(t *testing.T) {
	url := "nats://" + external(t, 0).Addr().String()
	watch := client(t, url)
	sent, err := watch.SubscribeSync("belfry.topic.>")
	if err != nil {
		t.Fatal(err)
	}
	if err := watch.Flush(); err != nil {
		t.Fatal(err)
	}
	for range 20 { // a select chooses at random
		m := open(t, Options{NodeName: "a", URLs: []string{url}})
		heard := make(chan Peer, 64)
		m.control.onPeer = append(m.control.onPeer, func(p Peer) { heard <- p })
		eventually(t, "ready", m.whole)
		_, fds, err := m.HandOver(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		line.CloseAll(fds)
		m.HandedOver()
		commands := m.Stats().ControlReceived
		for range 64 {
			m.nats.in <- &nats.Msg{Subject: subjectAll, Data: []byte("x")}
			m.nats.commands <- &nats.Msg{Subject: subjectEvery, Data: []byte("x")}
			m.nats.box.commit([]part{{subject: "belfry.topic.x", message: &message.Message{Target: message.ToTopics("x"), Payload: []byte("x")}}})
		}
		m.Close()
		if n := len(m.messages()); n > 0 {
			t.Fatalf("delivers %d messages when it is closed", n)
		}
		if s := m.Stats(); s.Sent > 0 || s.ControlReceived != commands {
			t.Fatalf("sends %d messages and takes %d commands when it is closed", s.Sent, s.ControlReceived-commands)
		}
	}
	if m, err := sent.NextMsg(50 * time.Millisecond); err == nil && m.Header[headerProbe] == nil {
		t.Errorf("it published %q", m.Data)
	}
}

// A node may be closed at any moment of Take and HandOver.
func TestClosedMeanwhile(t *testing.T) {
	url := "nats://" + external(t, 0).Addr().String()
	for i := range 40 {
		o := Options{NodeName: "a", URLs: []string{url}}
		m := open(t, o)
		eventually(t, "ready", m.whole)
		next := openHeld(t, o, "news")
		var wg sync.WaitGroup
		wg.Add(1)
		closing := m
		if i%2 == 0 {
			closing = next
		}
		begin := make(chan struct{})
		go func() {
			defer wg.Done()
			<-begin
			time.Sleep(time.Duration(i) * 50 * time.Microsecond) // another moment each time
			closing.Close()
		}()
		if closing == m {
			close(begin)
		}
		h, fds, err := m.HandOver(context.Background())
		if err == nil {
			if closing == next {
				close(begin)
			}
			m.HandedOver()
			if err := next.Take(h, fds); err != nil && !errors.Is(err, errClosed) {
				t.Fatal(err)
			}
		} else if closing == next {
			t.Fatal(err)
		}
		wg.Wait()
		m.Close()
		next.Close()
		if err := next.Take(&Heritage{Version: heritageVersion, Node: next.id}, nil); !errors.Is(err, errClosed) {
			t.Fatalf("Take of a closed node: %v", err)
		}
	}
}
