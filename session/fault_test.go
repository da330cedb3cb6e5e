package session

import (
	"strings"
	"testing"

	gobwas "github.com/gobwas/ws"
	"go.uber.org/zap"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
	"belfry/wire/plain"
	"belfry/wire/v1"
	"belfry/wire/websocket"
	"belfry/ws"
)

// faultyEncoding panics where its v1 is asked for what holds the word.
type faultyEncoding struct{ v1.Encoding }

const faultWord = "fault"

func fault(where string, p []byte) {
	if strings.Contains(string(p), faultWord) {
		panic("injected in " + where)
	}
}

func (f faultyEncoding) Message(w *wire.Writer, m *message.Message) {
	fault("Message", m.Payload)
	f.Encoding.Message(w, m)
}

func (f faultyEncoding) Hello(w *wire.Writer, h *wire.Hello) {
	fault("Hello", []byte(h.UID))
	f.Encoding.Hello(w, h)
}

func (f faultyEncoding) Reply(w *wire.Writer, r *wire.Reply) {
	if strings.Contains(r.Ref, faultWord) {
		w.Frame(wire.Payload{Data: []byte("half")})
	}
	fault("Reply", []byte(r.Ref))
	f.Encoding.Reply(w, r)
}

func (f faultyEncoding) Command(p []byte, k message.Kind) (wire.Command, []byte, error) {
	if strings.Contains(string(p), "parse "+faultWord) {
		panic("injected in Command")
	}
	return f.Encoding.Command(p, k)
}

// withEncoding serves plain clients, and those of a subprotocol in an encoding
// under test.
func withEncoding(subprotocol string, e wire.Encoding) []wire.Endpoint {
	return []wire.Endpoint{websocket.New(websocket.Options{Encodings: []websocket.Encoding{
		{Encoding: plain.Encoding{}}, {Encoding: e, Subprotocol: subprotocol},
	}})}
}

// faultyInterest panics for topics that hold the word.
type faultyInterest struct{ noInterest }

func (faultyInterest) JoinTopic(topic []byte, _ Waiter, _ uint64) bool {
	fault("JoinTopic", topic)
	return true
}

// faultyAuthenticator panics for uids that hold "auth fault".
type faultyAuthenticator struct{ Open }

func (a *faultyAuthenticator) Authenticate(r *Attempt, later func(Grant, *ws.Refusal)) (Grant, *ws.Refusal, bool) {
	if uid, _ := r.Request.Query("uid"); string(uid) == "auth "+faultWord {
		panic("injected in Authenticate")
	}
	return a.Open.Authenticate(r, later)
}

type faultySubscriptions struct{}

func (faultySubscriptions) MaySubscribe(_ *Client, topic string, later func(Decision, string)) {
	if topic == faultWord {
		panic("injected in MaySubscribe")
	}
	go later(Permitted, "")
}

func faultRig(t *testing.T) *rig {
	rules, err := message.CompilePatterns([]string{"*"})
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, Options{
		Endpoints:     withEncoding(v1.Name, faultyEncoding{}),
		Interest:      faultyInterest{},
		Authenticator: &faultyAuthenticator{Open{Unproven: true, Topics: rules}},
		Subscriptions: faultySubscriptions{},
		Poller:        poller.Options{Shards: 1},
		Log:           zap.NewNop(),
	})
	r.faults = true
	return r
}

// A message that cannot be encoded is refused before a place is taken, and the
// next one goes through.
func TestFaultInMessage(t *testing.T) {
	r := faultRig(t)
	plain := r.mustWire("/ws?uid=u", "")
	if err := r.push(&message.Message{Target: message.ToAll(), Payload: []byte(faultWord)}); err != nil {
		t.Errorf("refused although no session speaks the encoding: %v", err)
	}
	if _, p, err := plain.frame(); err != nil || string(p) != faultWord {
		t.Errorf("%q, %v", p, err)
	}
	speaker := r.v1("/ws?uid=u&topic=t")
	for _, to := range []message.Target{message.ToAll(), message.ToUsers("u"), message.ToTopics("t")} {
		for range 100 {
			if err := r.push(&message.Message{Target: to, Payload: []byte(faultWord)}); err == nil {
				t.Fatalf("%v: no error", to)
			}
		}
	}
	// Somebody who speaks it appears between the encoding and the sending.
	speaker.Close()
	eventually(t, "gone", func() bool { return r.Stats().Sessions == 1 })
	p, err := r.Prepare(&message.Message{Target: message.ToAll(), Payload: []byte(faultWord)})
	if err != nil {
		t.Fatal(err)
	}
	speaker = r.v1("/ws?uid=u")
	if err := p.Deliver(); err != nil {
		t.Fatal(err)
	}
	r.deliver(message.ToAll(), "fine")
	speaker.expect(t, `"data":"fine"`)
	for _, want := range []string{faultWord, "fine"} {
		if _, p, err := plain.frame(); err != nil || string(p) != want {
			t.Errorf("%q, %v; want %q", p, err, want)
		}
	}
	eventually(t, "nothing waits", func() bool { return r.mailBytes.Load() == 0 })
	if n := r.Stats().Poller.Panics; n != 301 {
		t.Errorf("%d faults counted, want 301", n)
	}
}

// A fault in what serves one client ends that client's connection, and nothing
// of it is left for the next: no topic, no user, no place, no bytes.
func TestFaultCostsOneConnection(t *testing.T) {
	r := faultRig(t)
	witness := r.v1("/ws?uid=witness&topic=t")
	secret := masked(gobwas.OpPing, true, []byte("secret"))
	for name, text := range map[string]string{
		"Command":      `{"type":"parse ` + faultWord + `"}`,
		"Reply":        `{"type":"ping","ref":"` + faultWord + `"}`,
		"MaySubscribe": `{"type":"sub","topic":"` + faultWord + `"}`,
		"JoinTopic":    `{"type":"sub","topics":["a","interest.` + faultWord + `"]}`,
	} {
		before := r.Stats()
		w := r.v1("/ws?uid=attacker&topic=own")
		w.Write(append(append([]byte(nil), secret...), masked(gobwas.OpText, true, []byte(text))...))
		for {
			if _, _, err := w.frame(); err != nil {
				break
			}
		}
		eventually(t, name+": closed", func() bool { return r.Stats().Closed["internal"] == before.Closed["internal"]+1 })
		r.tick(1)
		if st := r.Stats(); st.Sessions != 1 || st.Users != 1 || st.Topics != 1 || st.Subscriptions != 1 {
			t.Errorf("%s: %d sessions, %d users, %d topics, %d subscriptions are left of the witness's one each",
				name, st.Sessions, st.Users, st.Topics, st.Subscriptions)
		}
		next := r.v1("/ws?uid=attacker") // in the same slot
		next.command(`{"type":"ping","ref":"mine"}`)
		if op, p, err := next.frame(); err != nil || op != gobwas.OpText || !strings.Contains(string(p), "mine") {
			t.Errorf("%s: the next client gets %v %q, %v", name, op, p, err)
		}
		next.Close()
		eventually(t, "gone", func() bool { return r.Stats().Sessions == 1 })
	}
	for _, path := range []string{"/ws?uid=auth+" + faultWord, "/ws?uid=hello+" + faultWord, "/ws?topic=interest." + faultWord} {
		if _, err := r.rawConn(path, "belfry.v1"); err == nil {
			t.Errorf("%s: accepted", path)
		}
	}
	eventually(t, "gone", func() bool { return r.Stats().Sessions == 1 && r.Stats().Pending == 0 })
	r.deliver(message.ToTopics("t"), "still here")
	witness.expect(t, "still here")
}
