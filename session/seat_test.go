package session

import (
	"bytes"
	"encoding/json"
	"io"
	"testing"

	"golang.org/x/sys/unix"

	"belfry/message"
	"belfry/poller"
)

// seat is a session on shard 0 whose client is the other end of a pair of
// sockets that keep the boundaries of writes.
type seat struct {
	t    *testing.T
	peer int
	slot uint32
	sid  string
	v1   bool
}

// seat opens a session. The test reads what it gets.
func (r *rig) seat(o upgrade) *seat {
	r.t.Helper()
	peer, slot := r.adopt(unix.SOCK_SEQPACKET)
	r.t.Cleanup(func() { unix.Close(peer) })
	o.accept = pingFrame // instead of a response, so that all that is written is frames
	s := &seat{t: r.t, peer: peer, slot: slot, v1: o.variant == 1}
	r.on(0, func(h *shard) {
		h.upgrader.register(slot, &o)
		h.ps.Submit() // the answer, which is not to be seen later
		s.sid = h.session(slot)
		if h.rec(slot).state != stateOpen {
			r.t.Errorf("session in state %d", h.rec(slot).state)
		}
	})
	s.writes() // the answer to the upgrade
	return s
}

// seats opens n plain sessions with the same topics.
func (r *rig) seats(n int, topics ...string) (all []*seat) {
	r.t.Helper()
	for range n {
		all = append(all, r.seat(upgrade{grant: Grant{Topics: topics}}))
	}
	return all
}

// writes returns what the session was sent since it was last asked, each write
// apart.
func (s *seat) writes() (all [][]byte) {
	s.t.Helper()
	for {
		buf := make([]byte, 256<<10)
		n, err := unix.Read(s.peer, buf)
		if err == unix.EAGAIN || n == 0 && err == nil {
			return all
		}
		if err != nil {
			s.t.Fatal(err)
		}
		all = append(all, buf[:n])
	}
}

// texts returns the payloads of the messages that came.
func (s *seat) texts() (texts []string) {
	s.t.Helper()
	for _, w := range s.writes() {
		texts = append(texts, s.parse(w)...)
	}
	return texts
}

// parse returns the payloads of the messages in p.
func (s *seat) parse(p []byte) (texts []string) {
	s.t.Helper()
	for r := bytes.NewReader(p); ; {
		f, err := readFrame(r)
		if err == io.EOF {
			return texts
		}
		if err != nil {
			s.t.Fatalf("%v in %q", err, p)
		}
		switch {
		case f.Header.OpCode.IsControl():
		case !s.v1:
			texts = append(texts, string(f.Payload))
		default:
			var o struct{ Type, Data string }
			if err := json.Unmarshal(f.Payload, &o); err != nil {
				s.t.Fatal(err)
			}
			if o.Type == "msg" {
				texts = append(texts, o.Data)
			}
		}
	}
}

// enqueue lets a message wait for a fan-out run, whatever the size of its topics.
func enqueue(h *shard, to message.Target, text string, exclude ...string) {
	m := &message.Message{Target: to, Payload: []byte(text)}
	if len(exclude) > 0 {
		m.Target.Exclude = exclude[0]
	}
	if !h.ps.Reserve(poller.QueueBulk) {
		panic("bulk queue is full")
	}
	d, _ := h.srv.Prepare(m)
	if to.Scope == message.ScopeAll {
		h.dispatcher.dispatch(d)
		return
	}
	(&machine{h: h}).queue(d, to.Names)
}

// visits makes n visits of the shard's fan-out run, or fewer if it has no more.
func visits(h *shard, n int) {
	p := &h.fanout
	if !p.active {
		p.begin()
	}
	for range n {
		slot, ok := p.next(h.ps)
		if !ok {
			return
		}
		p.visit(slot)
	}
}

// fanoutDone waits until no shard has a fan-out run to make. It asks through the
// queue of messages for many, behind them.
func (r *rig) fanoutDone() {
	r.t.Helper()
	for _, h := range r.shards {
		eventually(r.t, "fan-out runs over", func() bool {
			over := make(chan bool, 1)
			look := func(h *shard) {
				h.ps.Release(poller.QueueBulk, 1)
				over <- !h.fanout.active && h.fanout.waiting == nil
			}
			return h.ps.Post(poller.QueueBulk, poller.Mail{Kind: mailCall, Ptr: look}) && <-over
		})
	}
}

// pingFrame is how a WebSocket is pinged.
var pingFrame = []byte{0x89, 0}
