package session

import (
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
	"belfry/wire/v1"
	"belfry/ws"
)

// begun returns the begin of a binary frame of length bytes: its header and the
// first bytes of its payload.
func begun(length, first int) []byte {
	p := append([]byte{0x82, 0x80 | 127}, binary.BigEndian.AppendUint64(nil, uint64(length))...)
	switch {
	case length < 126:
		p = []byte{0x82, 0x80 | byte(length)}
	case length < 1<<16:
		p = binary.BigEndian.AppendUint16([]byte{0x82, 0x80 | 126}, uint16(length))
	}
	return append(append(p, 1, 2, 3, 4), make([]byte, first)...)
}

// sendAndWait writes p and waits until the server has read all of it, or has
// ended somebody over it.
func (r *rig) sendAndWait(w *rawConn, p []byte) {
	r.t.Helper()
	read := r.loop.Stats().ReadBytes
	w.Write(p)
	eventually(r.t, "bytes read", func() bool { return r.loop.Stats().ReadBytes >= read+uint64(len(p)) })
}

// settled waits until the sessions whose input was reclaimed are ended.
func (r *rig) settled() {
	r.t.Helper()
	eventually(r.t, "reclaimed ones ended", func() bool {
		n := 0
		r.each(func(h *shard) { n += len(h.receiver.reclaimed) })
		return n == 0
	})
}

// Clients that leave messages of 64 KiB unfinished fill the bound; they pay for
// it, with 4007, and clients that send little finish their messages.
func TestUnfinishedMessagesAreBounded(t *testing.T) {
	const bound, attackers = 4 << 20, 200
	r := newRig(t, Options{Poller: poller.Options{Shards: 2, InboundBytes: bound}})
	hello := masked(gobwas.OpText, true, []byte(`{"type":"ping","ref":1}`))
	early := r.mustWire("/ws", "belfry.v1")
	early.Write(hello[:10])
	var greedy []*rawConn
	for range attackers {
		w := r.mustWire("/ws", "")
		r.sendAndWait(w, begun(65536, 65500))
		greedy = append(greedy, w)
		if n := r.loop.Stats().InboundBytes; n > bound {
			t.Fatalf("%d bytes held, at most %d may be", n, bound)
		}
	}
	late := r.mustWire("/ws", "belfry.v1")
	for _, b := range hello {
		late.Write([]byte{b})
	}
	early.Write(hello[10:])
	for name, w := range map[string]*rawConn{"early": early, "late": late} {
		for _, want := range []string{"hello", `{"type":"ack","ref":1}`} {
			if _, p, err := w.frame(); err != nil || !strings.Contains(string(p), want) {
				t.Fatalf("%s: got %q %v, want %s", name, p, err, want)
			}
		}
	}
	r.settled()
	st := r.Stats()
	hit := st.Limits["session.inbound_bytes"]
	if least := uint64(attackers - bound/65536); hit < least || hit == attackers {
		t.Errorf("%d paid, want at least %d and not all", hit, least)
	}
	for i, w := range greedy[:hit/2] { // the ones that began first
		if _, code, text, err := w.end(); err != nil || code != 4007 || text == "" {
			t.Fatalf("attacker %d: %d %q %v, want 4007", i, code, text, err)
		}
		w.ended(t)
	}
	for _, w := range greedy {
		w.Close()
	}
	eventually(t, "attackers gone", func() bool { return r.loop.Stats().Connections == 2 })
	if n := r.loop.Stats().InboundBytes; n != 0 {
		t.Errorf("%d bytes are counted without a connection", n)
	}
	if n := r.Stats().Closed["node_inbound"]; n != hit {
		t.Errorf("closed for it: %d, counted as limits: %d", n, hit)
	}
}

// Ten clients with messages of 64 MiB obey the same bound, and one alone that
// wants more than there is pays itself.
func TestLargeMessagesObeyTheBound(t *testing.T) {
	const bound = 16 << 20
	r := newRig(t, Options{Poller: poller.Options{Shards: 1, InboundBytes: bound}, Limits: ws.Limits{MaxMessage: 64 << 20}})
	witness := r.mustWire("/ws", "")
	witness.Write(begun(1000, 10))
	for i := range 10 {
		w := r.mustWire("/ws", "")
		r.sendAndWait(w, begun(64<<20, 6<<20)) // 8 MiB of buffer
		if n := r.loop.Stats().InboundBytes; n > bound {
			t.Fatalf("%d bytes held, at most %d may be", n, bound)
		}
		if want := uint64(max(0, i)); r.Stats().Limits["session.inbound_bytes"] > want {
			t.Fatalf("after %d clients %d have paid", i+1, r.Stats().Limits["session.inbound_bytes"])
		}
	}
	r.settled()
	if n := r.Stats().Limits["session.inbound_bytes"]; n < 8 {
		t.Errorf("%d of 10 paid", n)
	}
	alone := r.mustWire("/ws", "")
	alone.Write(begun(64<<20, 20<<20))
	if _, code, _, err := alone.end(); err != nil || code != 4007 {
		t.Errorf("%d %v, want 4007", code, err)
	}
	witness.Write(make([]byte, 990))
	eventually(t, "the witness' message", func() bool { return r.Stats().MessagesIn == 1 })
}

// Upgrades that wait with unread bytes behind their request are bounded too; the
// one that holds most gets 503.
func TestWaitingUpgradesAreBounded(t *testing.T) {
	const bound, come = 1 << 20, 120
	auth := make(lateAuth, come+1)
	r := newRig(t, Options{Authenticator: auth, RetryAfter: 3 * time.Second, Poller: poller.Options{Shards: 1, InboundBytes: bound}})
	connect := func(behind int) *rawConn {
		w, err := r.connect()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close() })
		w.Write(slices.Concat(request("/ws", ""), make([]byte, behind)))
		return w
	}
	first := connect(5)
	admit := <-auth
	var all []*rawConn
	for range come {
		all = append(all, connect(12<<10))
		<-auth
		if n := r.loop.Stats().InboundBytes; n > bound {
			t.Fatalf("%d bytes held, at most %d may be", n, bound)
		}
	}
	r.settled()
	refused := r.Stats().Upgrades[[2]string{"503", "inbound"}]
	if refused < come/3 || refused == come || refused != r.Stats().Limits["session.inbound_bytes"] {
		t.Errorf("%d of %d refused, %d counted", refused, come, r.Stats().Limits["session.inbound_bytes"])
	}
	if status, err := all[0].answer(); err != nil || status != 503 {
		t.Errorf("the one that has held it longest: %d %v, want 503", status, err)
	}
	go admit(Grant{UID: "u"}, nil)
	if status, err := first.answer(); err != nil || status != 101 {
		t.Errorf("one that holds little: %d %v, want 101", status, err)
	}
}

// Messages to be published wait within half of the bound. A client of which most
// waits is refused first; nothing is lost without a word.
func TestPublishesAreBoundedInBytes(t *testing.T) {
	const bound = 1 << 20
	gate := make(chan struct{})
	var taken int
	r := newRig(t, Options{
		Poller:  poller.Options{Shards: 1, InboundBytes: bound},
		Publish: func(*message.Message, message.Wait) error { <-gate; taken++; return nil },
	})
	pub := func(ref, size int) []byte {
		return masked(gobwas.OpText, true, fmt.Appendf(nil, `{"type":"pub","ref":%d,"to":{"topic":"t"},"data":%q}`, ref, strings.Repeat("x", size)))
	}
	greedy, modest := r.mustWire("/ws", "belfry.v1"), r.mustWire("/ws", "belfry.v1")
	const pubs = 40
	for i := range pubs {
		greedy.Write(pub(i, 20<<10))
	}
	eventually(t, "all read", func() bool { return r.Stats().Commands["pub"] == pubs })
	if n := r.loop.Stats().InboundBytes; n > bound/2 {
		t.Errorf("%d bytes wait, at most %d may", n, bound/2)
	}
	modest.Write(pub(0, 20<<10))
	eventually(t, "read", func() bool { return r.Stats().Commands["pub"] == pubs+1 })
	close(gate)
	count := func(w *rawConn, want int) (acks, errs int) {
		for acks+errs < want {
			_, p, err := w.frame()
			switch {
			case err != nil:
				t.Fatalf("after %d and %d answers: %v", acks, errs, err)
			case strings.Contains(string(p), `"type":"ack"`):
				acks++
			case strings.Contains(string(p), `"code":"unavailable"`):
				errs++
			}
		}
		return acks, errs
	}
	acks, errs := count(greedy, pubs)
	if acks == 0 || errs < pubs/2 || uint64(errs) != r.Stats().Limits["session.inbound_bytes"] {
		t.Errorf("%d published and %d refused of the greedy one", acks, errs)
	}
	if acks, errs := count(modest, 1); acks != 1 || errs != 0 {
		t.Error("the modest one was refused")
	}
	eventually(t, "nothing counted", func() bool { return r.loop.Stats().InboundBytes == 0 && r.pubBytes.Load() == 0 })
	r.on(0, func(h *shard) {
		if taken != acks+1 || len(h.pubs.own) != 0 {
			t.Errorf("%d published, %d sessions counted", taken, len(h.pubs.own))
		}
	})
}

// faulty is an encoding that panics over a message.
type faulty struct{ v1.Encoding }

func (faulty) Command(p []byte, _ message.Kind) (wire.Command, []byte, error) {
	panic(fmt.Sprintf("%d bytes, as asked for", len(p)))
}

// A panic over a message that was assembled leaves nothing of it counted.
func TestPanicLeavesNoCharge(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), Endpoints: withEncoding("faulty", faulty{})})
	r.faults = true
	other := r.mustWire("/ws", "")
	other.Write(begun(50_000, 40_000))
	w := r.mustWire("/ws", "faulty")
	w.Write(begun(60_000, 30_000))
	eventually(t, "both counted", func() bool { return r.loop.Stats().InboundBytes > 70_000 })
	w.Write(make([]byte, 30_000))
	eventually(t, "the faulty one closed", func() bool { return r.Stats().Closed["internal"] == 1 })
	if n := r.loop.Stats().InboundBytes; n < 40_000 || n > 66_000 {
		t.Errorf("%d bytes counted, 40,000 came from the other", n)
	}
	other.Write(make([]byte, 10_000))
	eventually(t, "the other's message", func() bool { return r.Stats().MessagesIn == 2 })
	eventually(t, "nothing counted", func() bool { return r.loop.Stats().InboundBytes == 0 })
}

// A panic in Options.Publish costs one message only, and its client gets an error.
func TestPanicInPublish(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), Publish: func(m *message.Message, _ message.Wait) error {
		if string(m.Payload) == "bad" {
			panic("asked for")
		}
		return nil
	}})
	r.faults = true
	w := r.mustWire("/ws", "belfry.v1")
	for ref, data := range []string{"good", "bad", "good"} {
		w.send(gobwas.OpText, fmt.Appendf(nil, `{"type":"pub","ref":%d,"to":{"topic":"t"},"data":%q}`, ref, data))
	}
	for _, want := range []string{"hello", `{"type":"ack","ref":0}`, `"ref":1,"code":"unavailable"`, `{"type":"ack","ref":2}`} {
		if _, p, err := w.frame(); err != nil || !strings.Contains(string(p), want) {
			t.Fatalf("got %q %v, want %s", p, err, want)
		}
	}
	if st := r.Stats(); st.Poller.Panics != 1 || st.Poller.InboundBytes != 0 {
		t.Errorf("%d panics counted, %d bytes", st.Poller.Panics, st.Poller.InboundBytes)
	}
}
