package session

import (
	"testing"
	"time"

	"belfry/message"
	"belfry/poller"
)

// A message that has died gets to nobody, whatever its target; the others in the same run
// do. What dies in the backlog of a slow reader is not read later.
func TestExpiredMessages(t *testing.T) {
	r := newRig(t, Options{})
	w := r.mustWire("/ws?uid=u&topic=a&topic=b", "")
	seen := make(chan string, 100)
	go func() {
		for {
			_, p, err := w.frame()
			if err != nil {
				close(seen)
				return
			}
			seen <- string(p)
		}
	}()
	release := r.block(0) // the messages get into one run
	for _, to := range []message.Target{message.ToAll(), message.ToTopics("a"), message.ToTopics("b"), message.ToTopics("a", "b"), message.ToUsers("u")} {
		for i, text := range []string{"lives", "dead", "lives too"} {
			m := &message.Message{Target: to, Payload: []byte(text)}
			if i == 1 {
				m.Expires = time.Now().Add(-time.Millisecond)
			} else if i == 2 {
				m.Expires = time.Now().Add(time.Hour)
			}
			if err := r.push(m); err != nil {
				t.Fatal(err)
			}
		}
	}
	release()
	for range 10 {
		if got := <-seen; got != "lives" && got != "lives too" {
			t.Errorf("got %q", got)
		}
	}
	r.deliver(message.ToAll(), "end")
	if got := <-seen; got != "end" {
		t.Errorf("got %q", got)
	}
	if n := r.Stats().Expired; n == 0 {
		t.Error("not counted")
	}
}

func TestSlowReaderMissesWhatDied(t *testing.T) {
	r := newRig(t, Options{Poller: poller.Options{Backlog: poller.Bounds{Frames: 1 << 12, Bytes: 1 << 26}}})
	w := r.slowWire("/ws", "")
	sent := 0
	push := func(ttl time.Duration) {
		sent++
		m := &message.Message{Target: message.ToAll(), Payload: numbered(sent)}
		if ttl > 0 {
			m.Expires = time.Now().Add(ttl)
		}
		if err := r.push(m); err != nil {
			t.Fatal(err)
		}
	}
	for r.loop.Stats().Backlogged == 0 {
		push(0)
		eventually(t, "sent", func() bool { return r.Stats().Deliveries == uint64(sent) })
	}
	lives := sent
	for range 20 {
		push(300 * time.Millisecond)
	}
	push(0)
	died := time.Now().Add(300 * time.Millisecond)
	eventually(t, "all queued", func() bool { return r.loop.Stats().BacklogBytes > 20*4<<10 || time.Now().After(died) })
	time.Sleep(time.Until(died))
	for want := 1; want <= lives; want++ {
		if op, p, err := w.frame(); err != nil || number(string(p)) != want {
			t.Fatalf("%v %.30q, want message %d of %d (%v)", op, p, want, lives, err)
		}
	}
	last := lives
	for last != sent {
		_, p, err := w.frame()
		if err != nil {
			t.Fatal(err)
		}
		last = number(string(p))
	}
	if st := r.Stats(); st.Poller.DroppedExpired+st.Expired == 0 {
		t.Errorf("nothing was dropped: %+v", st.Poller)
	}
}
