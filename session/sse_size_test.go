package session

import (
	"errors"
	"strings"
	"testing"

	"belfry/message"
	"belfry/poller"
)

// lineEnds is a text that takes seven times as many bytes in an event stream: a
// field "data" for each empty line.
var lineEnds = []byte(strings.Repeat("\n", 8<<10))

// lineEndsEvent is how many bytes its event has: one line more than it has line
// ends, and an empty line.
const lineEndsEvent = ((8<<10)+1)*len("data: \n") + len("\n")

// The limits of backlogs count the bytes of events, not those of payloads: a text
// that grows on the wire is not cheaper than another of that size.
func TestSSEBacklogCountsEvents(t *testing.T) {
	const most = 256 << 10
	r := sseRig(t, Options{Poller: poller.Options{Shards: 1, Backlog: poller.Bounds{Bytes: most}}})
	s := r.slowStream("/sse")
	waiting := 0 // events sent since the socket was full
	for n := uint64(1); r.Stats().Slow == 0; n++ {
		if err := r.push(&message.Message{Target: message.ToAll(), Payload: lineEnds}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "sent or queued", func() bool { st := r.Stats(); return st.Deliveries >= n || st.Slow > 0 })
		st := r.loop.Stats()
		if st.BacklogBytes > most {
			t.Fatalf("%d bytes wait, allowed are %d", st.BacklogBytes, most)
		}
		if st.Backlogged > 0 {
			waiting++
		}
		if waiting > most/lineEndsEvent+2 {
			t.Fatalf("%d events of %d bytes wait, allowed are %d bytes", waiting, lineEndsEvent, most)
		}
	}
	if n := r.Stats().Limits["backlog.bytes"]; n != 1 {
		t.Errorf("backlog.bytes was reached %d times", n)
	}
	events := strings.Split(s.rest(), "\n\n")
	if event := events[0] + "\n\n"; len(event) != lineEndsEvent || strings.ReplaceAll(event, "data: \n", "") != "\n" {
		t.Errorf("an event of %d bytes, want %d", len(event), lineEndsEvent)
	}
}

// So does the limit of what waits for shards.
func TestSSEMailboxCountsEvents(t *testing.T) {
	r := sseRig(t, Options{Poller: onePoller(), MailboxBytes: int64(2 * lineEndsEvent)})
	s := r.stream("/sse")
	release := r.block(0)
	push := func() error { return r.push(&message.Message{Target: message.ToAll(), Payload: lineEnds}) }
	if err := push(); err != nil {
		t.Fatal(err)
	}
	if over, ok := errors.AsType[*message.OverloadedError](push()); !ok {
		t.Errorf("the second: %v", over)
	}
	release()
	s.want(strings.Repeat("data: \n", 8<<10+1))
	eventually(t, "nothing waits", func() bool { return r.mailBytes.Load() == 0 })
}
