package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/websocket"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
)

// Answers and messages, short and long, arrive in the order of the calls.
func TestRepliesKeepTheirOrder(t *testing.T) {
	e := &recorder{}
	r := newRig(t, Options{Events: e, Poller: onePoller(), Endpoints: withDeflate(t)})
	for _, deflate := range []bool{false, true} {
		d := websocket.Dialer{Subprotocols: []string{"belfry.v1"}, EnableCompression: deflate}
		conn, _, err := d.Dial(r.url("/ws"), nil)
		if err != nil {
			t.Fatal(err)
		}
		c := &client{conn, t}
		sid := c.object()["session"].(string)
		const n = 60
		for i := range n {
			text := fmt.Sprintf("%d %s", i, strings.Repeat("x", (i%3)*700))
			var err error
			if i%2 == 0 {
				err = r.Reply(sid, &wire.Reply{Ref: fmt.Sprint(i), Data: []byte(text)})
			} else {
				err = r.SendTo(sid, &message.Message{Payload: []byte(text)})
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		for i := range n {
			m := c.object()
			if got, _, _ := strings.Cut(m["data"].(string), " "); got != fmt.Sprint(i) || i%2 == 0 && m["ref"] != float64(i) {
				t.Fatalf("place %d: %.100v", i, m)
			}
		}
		c.Close()
	}
}

// Data that claim to be JSON and are not are sent as text: they must not break the
// object around them.
func TestReplyChecksJSON(t *testing.T) {
	e := &recorder{}
	r := newRig(t, Options{Events: e, Poller: onePoller()})
	c := r.dial("/ws", "belfry.v1")
	c.object()
	for _, data := range []string{`{"a":[1]}`, `{"a":1}}`, `1,"b":2`, "\"\xff\"", ``, `{"a":"` + strings.Repeat("x", 3000) + `"}`, `{` + strings.Repeat("x", 3000)} {
		if err := r.Reply(e.client().SID, &wire.Reply{Ref: "1", JSON: true, Data: []byte(data)}); err != nil {
			t.Fatal(err)
		}
		got := c.object()["data"]
		var want any = strings.ToValidUTF8(data, "\ufffd")
		if json.Valid([]byte(data)) && !strings.Contains(data, "\xff") {
			if err := json.Unmarshal([]byte(data), &want); err != nil {
				t.Fatal(err)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%.30q: %.60v", data, got)
		}
	}
}

// A plain client gets no replies, and messages unchanged.
func TestRepliesToPlainClients(t *testing.T) {
	e := &recorder{}
	r := newRig(t, Options{Events: e, Poller: onePoller()})
	c := r.dial("/ws")
	e.awaits(t, "opened")
	sid := e.client().SID
	long := strings.Repeat("y", 5000)
	for _, data := range []string{"short", long} {
		r.Reply(sid, &wire.Reply{Ref: "1", Data: []byte(data)})
		r.Reply(sid, &wire.Reply{Err: &wire.CommandError{Code: "refused"}})
		if err := r.SendTo(sid, &message.Message{Payload: []byte(data)}); err != nil {
			t.Fatal(err)
		}
		c.want(data)
	}
	if n := r.Stats().CommandErrors["refused"]; n != 2 {
		t.Errorf("%d errors are counted", n)
	}
}

// What backends want done with a session is done, in order, and the client is told of
// subscriptions that it has lost.
func TestOrders(t *testing.T) {
	e := &recorder{}
	r := newRig(t, Options{Events: e, MaxTopics: 3})
	c := r.dial("/ws?uid=ann&topic=own", "belfry.v1")
	sid := c.object()["session"].(string)
	for _, err := range []error{
		r.Subscribe(sid, []string{"a", "b", "one too many"[:3]}),
		r.Unsubscribe(sid, []string{"a", "never", "own"}),
		r.SetMeta(sid, []byte(`{"role":"guest"}`)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if m := c.object(); m["type"] != "left" || fmt.Sprint(m["topics"]) != "[a own]" {
		t.Errorf("%v", m)
	}
	if info, ok := r.Lookup(sid); !ok || fmt.Sprint(info.Topics) != "[b]" {
		t.Errorf("%v %v", info, ok)
	}
	if n := r.Stats().Limits["session.max_topics"]; n != 1 {
		t.Errorf("the limit of topics was hit %d times", n)
	}
	r.ordersDone()
	c.say(`{"type":"send"}`)
	e.awaits(t, "opened", "received ") // neither Subscribed nor Unsubscribed: the backend did it
	if m := e.client().Meta; string(m) != `{"role":"guest"}` {
		t.Errorf("meta %s", m)
	}
	if err := r.Close(sid, 4321, "over"); err != nil {
		t.Fatal(err)
	}
	if m := c.object(); m["type"] != "bye" || m["code"] != 4321.0 || m["reason"] != "backend" || m["reconnect"] != false {
		t.Errorf("%v", m)
	}
	c.wantClose(4321)
	e.check(t)
}

// A backend may close with these codes; the client should come back after some.
func TestBackendsCloseCodes(t *testing.T) {
	r := newRig(t, Options{})
	for code, back := range map[uint16]bool{1000: false, 1001: true, 1008: false, 1011: true, 1013: true, 3000: false, 4500: false} {
		c := r.dial("/ws", "belfry.v1")
		if err := r.Close(c.object()["session"].(string), code, ""); err != nil {
			t.Errorf("%d: %v", code, err)
			continue
		}
		if m := c.object(); m["type"] != "bye" || m["code"] != float64(code) || m["reconnect"] != back {
			t.Errorf("%d: %v", code, m)
		}
		c.wantClose(int(code))
	}
}

// Arguments are checked before anything is done.
func TestOrdersCheck(t *testing.T) {
	e := &recorder{}
	r := newRig(t, Options{Events: e, Poller: onePoller(), MailboxBytes: 10 << 10})
	c := r.dial("/ws", "belfry.v1")
	sid := c.object()["session"].(string)
	for name, err := range map[string]error{
		"topic":  r.Subscribe(sid, []string{"a", "b.>"}),
		"meta":   r.SetMeta(sid, []byte(`[]`)),
		"code":   r.Close(sid, 1006, ""),
		"reason": r.Close(sid, 1000, "\xff"),
	} {
		if field, ok := errors.AsType[*message.FieldError](err); !ok || field.Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := r.SendTo("nobody", &message.Message{}); !errors.Is(err, ErrNoSession) {
		t.Error(err)
	}
	for _, code := range []uint16{1000, 1001, 1008, 1011, 1013, 3000, 4999} {
		if err := r.Close("nobody", code, ""); !errors.Is(err, ErrNoSession) {
			t.Errorf("close code %d: %v", code, err)
		}
	}
	release := r.block(0)
	first := r.SendTo(sid, &message.Message{Payload: make([]byte, 4<<10)})
	second := r.SendTo(sid, &message.Message{Payload: make([]byte, 4<<10)})
	third := r.Reply(sid, &wire.Reply{Ref: "1"})
	if _, over := errors.AsType[*message.OverloadedError](second); first != nil || !over || third != nil {
		t.Errorf("%v, %v, %v; want room for the first message and for an answer", first, second, third)
	}
	release()
	if m := c.object(); m["type"] != "msg" {
		t.Error(m)
	}
	if m := c.object(); m["type"] != "ack" {
		t.Error(m)
	}
	r.ordersDone()
	if n := r.mailBytes.Load(); n != 0 {
		t.Errorf("%d bytes are counted when nothing waits", n)
	}
	if st := r.Stats(); st.Limits["fanout.mailbox_bytes"] != 1 || st.Deliveries != 1 {
		t.Errorf("%v, %d deliveries", st.Limits, st.Deliveries)
	}
	// One message larger than the limit finds room when nothing waits.
	if err := r.SendTo(sid, &message.Message{Payload: make([]byte, 20<<10)}); err != nil {
		t.Error(err)
	}
	c.object()
}

// A backend closes with the codes that docs/gateway.md allows, and no others. After some
// of them the client should come back.
func TestCloseCodesOfBackends(t *testing.T) {
	e := &recorder{}
	r := newRig(t, Options{Events: e, Poller: onePoller()})
	for code, back := range map[uint16]bool{1000: false, 1001: true, 1008: false, 1011: true, 1013: true, 3000: false, 4999: false} {
		c := r.dial("/ws", "belfry.v1")
		sid := c.object()["session"].(string)
		for _, wrong := range []uint16{0, 999, 1002, 1005, 1006, 1007, 1012, 1015, 2000, 2999, 5000} {
			if field, ok := errors.AsType[*message.FieldError](r.Close(sid, wrong, "")); !ok || field.Field != "code" {
				t.Errorf("%d is allowed", wrong)
			}
		}
		if err := r.Close(sid, code, "enough"); err != nil {
			t.Errorf("%d: %v", code, err)
			continue
		}
		if m := c.object(); m["type"] != "bye" || m["code"] != float64(code) || m["reconnect"] != back {
			t.Errorf("%d: %v; want reconnect %v", code, m, back)
		}
		c.wantClose(int(code))
	}
}

// Orders come from many goroutines while sessions end and the server stops; nothing is
// counted afterwards.
func TestOrdersWhileStopping(t *testing.T) {
	r := newRig(t, Options{Events: &recorder{}})
	var sids []string
	for range 20 {
		c := r.dial("/ws", "belfry.v1")
		sids = append(sids, c.object()["session"].(string))
	}
	stop := make(chan struct{})
	var workers sync.WaitGroup
	for i := range 4 {
		workers.Go(func() {
			for n := i; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				sid := sids[n%len(sids)]
				r.Reply(sid, &wire.Reply{Ref: "1", Data: bytes.Repeat([]byte("x"), n%3000)})
				r.Resume(sid)
				if n%50 == 0 {
					r.Close(sid, 1000, "")
				}
			}
		})
	}
	eventually(t, "some are closed", func() bool { return r.Stats().Sessions < 15 })
	if err := r.close(); err != nil {
		t.Error(err)
	}
	close(stop)
	workers.Wait()
	if n := r.mailBytes.Load(); n != 0 {
		t.Errorf("%d bytes are counted after the end", n)
	}
	if err := r.Resume(sids[0]); !errors.Is(err, ErrNoSession) {
		t.Error(err)
	}
}

// A message whose encoding panics costs its session and nothing else.
func TestOrderThatPanics(t *testing.T) {
	e := &recorder{}
	r := newRig(t, Options{Events: e, Poller: onePoller()})
	r.faults = true
	r.dial("/ws")
	e.awaits(t, "opened")
	sid := e.client().SID
	witness := r.dial("/ws")
	eventually(t, "both", func() bool { return len(e.told()) == 2 })
	other := e.client().SID // before the end of the first one is told
	if err := r.order(sid, 0, func(*shard, uint32) { panic("a fault") }); err != nil {
		t.Fatal(err)
	}
	if err := r.SendTo(other, &message.Message{Payload: []byte("hello")}); err != nil {
		t.Fatal(err)
	}
	witness.want("hello")
	eventually(t, "one session", func() bool { return r.Stats().Sessions == 1 })
}

// An order runs before a delivery that came after it: a backend that subscribes a
// session and then pushes to the topic means this session too.
func TestOrdersRunBeforeLaterDeliveries(t *testing.T) {
	e := &recorder{}
	r := newRig(t, Options{Events: e, Poller: onePoller()})
	c := r.dial("/ws")
	e.awaits(t, "opened")
	for i := range 20 {
		release := r.block(0)
		topic := fmt.Sprint("t", i)
		if err := r.Subscribe(e.client().SID, []string{topic}); err != nil {
			t.Fatal(err)
		}
		r.deliver(message.ToTopics(topic), topic)
		release()
		c.want(topic)
	}
}

// Thousands of decisions that come at once are taken in chunks: other mail is read
// between them.
func TestDecisionsAreTakenInChunks(t *testing.T) {
	const n = 2000
	r := newRig(t, Options{Poller: onePoller()})
	h, taken, block := r.shards[0], 0, make(chan struct{})
	done := make(chan struct{})
	for i := range n {
		h.env.decided(func(h *shard) {
			if i == 0 {
				<-block
				for !h.ps.Expired() {
				}
			}
			if taken++; taken == n {
				close(done)
			}
		})
	}
	seen := make(chan int, 1)
	if !h.ps.Post(poller.QueueControl, poller.Mail{Kind: mailCall, Ptr: func(*shard) { seen <- taken }}) {
		t.Fatal("the control queue is full")
	}
	close(block)
	if before := <-seen; before >= n/2 {
		t.Errorf("%d decisions were taken before the next mail", before)
	}
	<-done
}

// What is ordered for a session that is closing is dropped: nothing follows its close
// frame (RFC 6455 section 5.5.1), and it joins no topic.
func TestOrdersForAClosingSession(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller()})
	c, sid := r.hello("/ws?uid=ann")
	for _, err := range []error{
		r.Close(sid, 4321, "over"), // its client has not read it yet
		r.Subscribe(sid, []string{"late"}),
		r.SendTo(sid, &message.Message{Target: message.ToAll(), Payload: []byte("late")}),
	} {
		if err != nil {
			t.Error(err)
		}
	}
	r.ordersDone()
	r.on(0, func(h *shard) {
		if n := h.topics.len(); n != 0 {
			t.Errorf("%d topics", n)
		}
	})
	if n := r.Stats().Deliveries; n != 0 {
		t.Errorf("%d messages are delivered", n)
	}
	if m := c.object(); m["type"] != "bye" {
		t.Errorf("%v", m)
	}
	c.wantClose(4321)
}
