package session

import (
	"fmt"
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
)

// A message that finds PublishQueue others waiting is refused and counted;
// messages that wait are published in their order.
func TestPublishQueueIsBounded(t *testing.T) {
	const most = 2
	gate, begun := make(chan struct{}), make(chan string, 8)
	r := newRig(t, Options{
		Poller:       onePoller(),
		PublishQueue: most,
		Publish:      func(m *message.Message, _ message.Wait) error { begun <- string(m.Payload); <-gate; return nil },
	})
	w := r.mustWire("/ws", "belfry.v1")
	pub := func(ref int) {
		w.Write(masked(gobwas.OpText, true, fmt.Appendf(nil, `{"type":"pub","ref":%d,"to":{"topic":"t"},"data":"%d"}`, ref, ref)))
	}
	pub(0)
	if first := <-begun; first != "0" {
		t.Fatalf("%s is published first", first)
	}
	for ref := 1; ref <= 4; ref++ {
		pub(ref)
	}
	eventually(t, "all read", func() bool { return r.Stats().Commands["pub"] == 5 })
	if n := r.Stats().Limits["session.publish_queue"]; n != 2 {
		t.Errorf("%d refused, want 2", n)
	}
	close(gate)
	for _, want := range []string{"1", "2"} {
		if next := <-begun; next != want {
			t.Errorf("%s is published, want %s", next, want)
		}
	}
	acks, refused := 0, ""
	for acks < 1+most || len(refused) < 2 {
		_, p, err := w.frame()
		switch answer := string(p); {
		case err != nil:
			t.Fatalf("after %d acks and %q refused: %v", acks, refused, err)
		case strings.Contains(answer, `"type":"ack"`):
			acks++
		case strings.Contains(answer, "session.publish_queue"):
			refused += strings.Split(strings.Split(answer, `"ref":`)[1], ",")[0]
		}
	}
	if acks != 1+most || refused != "34" {
		t.Errorf("%d published, %q refused", acks, refused)
	}
}
