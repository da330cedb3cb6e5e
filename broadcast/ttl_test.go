package broadcast

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/message"
)

// What waited in the outbox for longer than its ttl is not sent, and no number is missing.
func TestOutboxDropsExpired(t *testing.T) {
	s := external(t, 0)
	port, url := portOf(t, s), s.ClientURL()
	n := sharing(t, url, Options{OutboxMessages: 100, ReconnectPause: time.Second})
	n[1].topic(t, "a")
	n[0].publish(t, message.ToTopics("a"), "before")
	eventually(t, "the first", func() bool { return len(n[1].messages()) == 1 })
	kill(s)
	for _, m := range n {
		eventually(t, "loss noticed", func() bool { return m.lost() })
	}
	for i := range 10 {
		m := &message.Message{Target: message.ToTopics("a"), Payload: []byte(fmt.Sprint(i))}
		if i%2 == 0 {
			m.Expires = time.Now().Add(time.Duration(i+1) * time.Millisecond)
		} else {
			m.Expires = time.Now().Add(time.Hour)
		}
		if err := n[0].Publish(m); err != nil {
			t.Fatal(err)
		}
	}
	time.Sleep(10 * time.Millisecond) // they die
	external(t, port)
	eventually(t, "what lives", func() bool { return len(n[1].messages()) == 6 })
	for i, m := range n[1].messages()[1:] {
		if left := time.Until(m.Expires); string(m.Payload) != fmt.Sprint(2*i+1) || left < 58*time.Minute || left > time.Hour {
			t.Errorf("%s lives for %v", m.Payload, left)
		}
	}
	if st, other := n[0].Stats(), n[1].Stats(); st.LostExpired != 5 || other.Gaps != 0 || st.OutboxMessages != 0 {
		t.Errorf("%d expired, %d gaps, %d in the outbox", st.LostExpired, other.Gaps, st.OutboxMessages)
	}
}

// The time left is rounded up, and within the range.
func TestTTLValues(t *testing.T) {
	for left, want := range map[time.Duration]string{-time.Second: "1", 1: "1", time.Millisecond: "1", 1500 * time.Microsecond: "2", time.Hour: "3600000", 48 * time.Hour: "86400000"} {
		if got := formatTTL(left); got != want || len(got) > maxTTLValue {
			t.Errorf("%v: %s", left, got)
		}
	}
}

func FuzzTTL(f *testing.F) {
	for _, s := range []string{"1", "0", "01", "86400000", "86400001", "-1", "1s", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		begun := time.Now()
		at, err := expires(nats.Header{headerTTL: {s}})
		if err != nil {
			return
		}
		left := at.Sub(begun).Truncate(time.Millisecond)
		if back := formatTTL(left); back != s && left < message.MaxTTL {
			t.Errorf("%q is %v, %q", s, left, back)
		}
		if left < time.Millisecond || left > message.MaxTTL+time.Second {
			t.Errorf("%q is %v", s, left)
		}
	})
}
