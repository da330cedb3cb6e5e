package session

import (
	"encoding/json"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
)

// ErrNoSession says that a session id is none of this node's, or that the server has
// stopped. A session that has ended is no error: what comes for it is dropped.
var ErrNoSession = errors.New("session: no session of this node has this id")

// orders are what other goroutines want done with a shard's sessions, in the order of
// their calls. Unlike mail an order is never refused for want of a place: a session
// that waits for Resume must not wait for ever. What an order carries is counted in
// Options.MailboxBytes.
type orders struct {
	env
	todo []order // owned by the shard: taken, and not done yet
	next int     // in todo

	waiting atomic.Bool // queue is not empty

	mu      sync.Mutex // guards the fields below
	queue   []order
	stopped bool
}

// order is one call. do runs on the shard, if the session is open then. An order for
// id 0 is for no session: do runs in any case.
type order struct {
	id   poller.ID
	size int64 // bytes counted in Server.mailBytes until it is done
	do   func(h *shard, slot uint32)
}

// orderSize is counted for an order beside its bytes, in bytes.
const orderSize = 128

// put queues an order. It returns false if the shard has stopped. Any goroutine.
func (os *orders) put(o order) bool {
	os.mu.Lock()
	defer os.mu.Unlock()
	if os.stopped {
		return false
	}
	os.queue = append(os.queue, o)
	if len(os.queue) == 1 {
		os.waiting.Store(true)
		os.ps.Wake()
	}
	return true
}

// pending says whether something is queued. A backend's answer is queued before Busy says
// that nothing is left of its event.
func (os *orders) pending() bool { return os.waiting.Load() || os.next < len(os.todo) }

// run does what is queued, for the time of a chunk, and says whether there is more.
func (os *orders) run(h *shard) (more bool) {
	for n := 1; ; n++ {
		if os.next == len(os.todo) && !(os.waiting.Load() && os.take()) {
			return false
		}
		o := os.todo[os.next]
		os.todo[os.next] = order{}
		os.next++ // first, so that a panic does not come again
		os.srv.mailBytes.Add(-o.size)
		if o.id == 0 {
			os.ps.Protect(0, func() { o.do(h, 0) })
		} else if slot, ok := os.ps.Lookup(o.id); ok && os.rec(slot).state == stateOpen {
			os.ps.Protect(o.id, func() { o.do(h, slot) })
		}
		if n%16 == 0 && os.ps.Expired() {
			return true
		}
	}
}

// maxSpareOrders is how many orders the buffers have room for that are kept.
const maxSpareOrders = 1024

// take takes what is queued, and says whether that is anything.
func (os *orders) take() bool {
	spare := os.todo[:0]
	if cap(spare) > maxSpareOrders {
		spare = nil
	}
	os.mu.Lock()
	defer os.mu.Unlock()
	os.todo, os.queue, os.next = os.queue, spare, 0
	os.waiting.Store(false)
	return len(os.todo) > 0
}

// decided has the shard call f, which takes the decision of an authenticator or of a
// webhook. Thousands may come at once, when a backend that hangs is given up, so that
// they are no mail: the control queue is read completely in a turn. What waits is
// bounded where the question was asked. Any goroutine.
func (e *env) decided(f func(h *shard)) {
	e.srv.shards[e.index].decided.put(order{do: func(h *shard, _ uint32) { f(h) }})
}

// stop drops what is queued and what comes later.
func (os *orders) stop() {
	os.mu.Lock()
	defer os.mu.Unlock()
	os.stopped = true
	for _, o := range slices.Concat(os.todo[os.next:], os.queue) {
		os.srv.mailBytes.Add(-o.size)
	}
	os.todo, os.queue, os.next = nil, nil, 0
}

// order queues what is to be done with a session. size is what is held until then,
// in bytes; 0 stands for little, which is never refused.
func (s *Server) order(sid string, size int, do func(h *shard, slot uint32)) error {
	n, mine := s.parseOwn(sid)
	if !mine {
		return ErrNoSession
	}
	held := int64(size + orderSize)
	if waits := s.mailBytes.Add(held); size > 0 && waits > s.opt.MailboxBytes && waits > held {
		s.mailBytes.Add(-held)
		s.shards[n.Shard].counters.limit(limitMailbox)
		return &message.OverloadedError{What: "the room for messages that wait for shards (fanout.mailbox_bytes) is full"}
	}
	if !s.shards[n.Shard].orders.put(order{poller.ID(n.Conn), held, do}) {
		s.mailBytes.Add(-held)
		return ErrNoSession
	}
	return nil
}

// The methods below may be called from any goroutine, also within Options.Events.
// They do not wait. What they ask for is done in the order of the calls of one
// goroutine for one session, if the session is open then. They return ErrNoSession,
// errors about their arguments, and *message.OverloadedError if the bytes that wait
// for shards exceed Options.MailboxBytes; after an error nothing is done.

// Resume reads a session again that Events.Received has paused. One call ends one
// pause. It is never refused.
func (s *Server) Resume(sid string) error {
	return s.order(sid, 0, func(h *shard, slot uint32) { h.eventing.release(slot, h.rec(slot)) })
}

// Reply answers a command of a session. r and what it holds must not be changed
// afterwards. If r.JSON is set and r.Data is no JSON value in UTF-8, the data are sent
// as text. An answer without Data is never refused.
func (s *Server) Reply(sid string, r *wire.Reply) error {
	if r.JSON && !(json.Valid(r.Data) && utf8.Valid(r.Data)) {
		plain := *r
		plain.JSON = false
		r = &plain
	}
	frames := s.framesOf(len(r.Data), func(e wire.Encoding, w *wire.Writer) { e.Reply(w, r) })
	return s.order(sid, len(r.Data)+sizeOf(frames), func(h *shard, slot uint32) {
		rec := h.rec(slot)
		h.eventing.reply(slot, rec)
		switch p := frames.of(rec); {
		case p == nil:
			h.answers.reply(slot, r)
		case len(p) > 0: // the encoding has answers
			h.ps.Send(slot, poller.Bytes(p), poller.Data)
		}
	})
}

// SendTo sends a message to one session of this node, without the bus. Its order
// among answers by Reply is that of the calls. No policy for slow consumers drops it.
// m must not be changed afterwards.
func (s *Server) SendTo(sid string, m *message.Message) error {
	frames := s.framesOf(len(m.Payload), func(e wire.Encoding, w *wire.Writer) { e.Message(w, m) })
	return s.order(sid, max(1, len(m.Payload)+sizeOf(frames)), func(h *shard, slot uint32) {
		rec := h.rec(slot)
		p := frames.of(rec)
		if p == nil {
			w := h.say(rec, h.buf[:0])
			h.variantOf(rec).Encoding.Message(w, m)
			h.buf = w.Bytes()
			p = h.buf
		}
		h.counters.deliveries.Add(1)
		h.ps.Send(slot, poller.Bytes(p), poller.Data)
	})
}

// Subscribe subscribes a session to topics, which need no permission. Topics beyond
// the session's limit, and beyond the room of the shard's tables, are left out and
// counted.
func (s *Server) Subscribe(sid string, topics []string) error {
	for _, topic := range topics {
		if err := message.CheckTopic(topic); err != nil {
			return err
		}
	}
	return s.order(sid, 0, func(h *shard, slot uint32) {
		for _, topic := range topics {
			if !h.subscribe(slot, topic) {
				return
			}
		}
	})
}

// Unsubscribe ends subscriptions of a session, and tells its client which
// (wire.Reply.Left).
func (s *Server) Unsubscribe(sid string, topics []string) error {
	return s.order(sid, 0, func(h *shard, slot uint32) { h.unsubscribe(slot, topics) })
}

// SetMeta replaces the meta data of a session: a JSON object of at most MaxMeta bytes,
// nil for none. meta must not be changed afterwards. Without memory for it the last
// meta data stay, which is counted.
func (s *Server) SetMeta(sid string, meta []byte) error {
	if err := CheckMeta(meta); err != nil {
		return err
	}
	return s.order(sid, len(meta), func(h *shard, slot uint32) {
		if h.grants.setMeta(h.rec(slot), meta) != nil {
			h.counters.limit(limitMemory)
		}
		h.eventing.changed(slot)
	})
}

// Close ends a session with a close code of the caller's: 1000, 1001, 1008, 1011,
// 1013, or 3000 to 4999. text goes into the close frame, which has room for 123
// bytes; "" means the usual text. After 1001, 1011 and 1013 the client should come back.
func (s *Server) Close(sid string, code uint16, text string) error {
	if err := CheckClose(code, text); err != nil {
		return err
	}
	return s.order(sid, 0, func(h *shard, slot uint32) { h.closeAs(slot, code, text) })
}

// encodeAhead is from how many bytes on a message for one session is encoded before
// its shard has it: escaping and compressing it would keep other sessions waiting.
const encodeAhead = 1 << 10

// frames are what a message is for each variant. nil: it is not encoded yet.
type frames [][]byte

// of returns the frames for a session, nil if they are not encoded yet.
func (f frames) of(rec *record) []byte {
	if int(rec.variant) >= len(f) {
		return nil
	}
	return f[rec.variant]
}

func sizeOf(f frames) (n int) {
	for _, p := range f {
		n += len(p)
	}
	return n
}

// framesOf encodes what say says with a payload of size bytes, for every variant that
// some client speaks. It leaves short payloads to the shard. A panic leaves it to the
// shard too, where it costs the session.
func (s *Server) framesOf(size int, say func(wire.Encoding, *wire.Writer)) frames {
	if size < encodeAhead {
		return nil
	}
	all := make(frames, len(s.perVariant))
	for i := range all {
		if s.perVariant[i].Load() > 0 {
			all[i] = s.frameFor(&s.protocols.variants[i], size, say)
		}
	}
	return all
}

func (s *Server) frameFor(v *variant, size int, say func(wire.Encoding, *wire.Writer)) (p []byte) {
	w := s.writers.Get().(*wire.Writer)
	defer func() {
		if r := recover(); r != nil {
			s.faults.Add(1)
			s.opt.Log.Error("an encoding panicked; a session may not get its answer", zap.String("encoding", v.Encoding.Name()), zap.Any("panic", r), zap.Stack("stack"))
			p = nil
		}
	}()
	w.Reset(v.Transport, make([]byte, 0, size+frameRoom))
	say(v.Encoding, w)
	p = w.Bytes()
	w.Reset(nil, nil)
	s.writers.Put(w)
	return p
}
