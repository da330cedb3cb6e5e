package session

import (
	"errors"
	"slices"
	"sync/atomic"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
)

var errEncoding = errors.New("session: the message could not be encoded")

// Delivery is one message on its way to the sessions of this node. It knows the
// shards that it goes to, and the message's frame for each variant that Prepare
// found in use. The shards share it. It does not change any more, except that a
// shard adds the frame of a variant that was not in use before. Deliver may be
// called again after an error.
type Delivery struct {
	Message *message.Message // must not be changed any more

	srv     *Server
	key     uint64      // the policy latest-only keeps the newest message of each key
	exclude message.SID // the session that does not get it, if without
	without bool
	size    int64                           // bytes of the payload and of the frames
	batches []atomic.Pointer[poller.Frames] // by variant

	queue    poller.Queue  // of the mailboxes that it goes through
	shards   []*shard      // each once
	imported uint64        // number, from 1, of a message that came with sessions of another process; see Successor.Sent
	homes    []home        // of a message to users or sessions: one for each name of the target
	only     [1]home       // backs homes if there is one name
	entry    poller.Permit // of Await
	left     atomic.Int32  // shards that have not sent it yet
	tally    *tally        // nil: nobody wants to know what becomes of it
}

// home says where the sessions of one name of the target are.
type home struct {
	shard int       // -1: not on this node
	hash  uint32    // of a user, as in the shard's table
	id    poller.ID // of a session
}

// Prepare finds the shards of m and encodes m for the variants that its sessions
// may speak. To users it encodes only what sessions of their groups speak (see
// userVariants), so that clients without a user cannot make it cost more. To all
// other targets it encodes every variant that a session of this node speaks. Call
// it before a lock or a place is taken: so an encoding that panics leaves neither
// behind. m must not be changed afterwards. Any goroutine.
//
// An error is a fault of this server, which is in its log; no session gets m.
func (s *Server) Prepare(m *message.Message) (*Delivery, error) {
	d := &Delivery{Message: m, srv: s, key: conflationKey(m), size: int64(len(m.Payload)), tally: s.newTally(m)}
	if m.Target.Exclude != "" {
		if n, ok := message.ParseSID(m.Target.Exclude, &s.opt.Key); ok && n.Node == s.opt.Node {
			d.exclude, d.without = n, true
		}
	}
	d.route()
	ok := true
	d.batches = make([]atomic.Pointer[poller.Frames], len(s.perVariant))
	for i := range s.perVariant {
		if d.mayNeed(uint8(i)) {
			frame, encoded := d.encode(uint8(i))
			d.batches[i].Store(d.newBatch(frame))
			d.size += int64(len(frame))
			ok = ok && encoded
		}
	}
	if !ok {
		return nil, errEncoding
	}
	return d, nil
}

// mayNeed says whether a session that the message goes to may speak a variant.
func (d *Delivery) mayNeed(variant uint8) bool {
	if d.srv.perVariant[variant].Load() <= 0 {
		return false
	}
	if d.Message.Target.Scope != message.ScopeUsers {
		return true
	}
	for i := range d.homes {
		if d.srv.perUser.of(d.homes[i].hash, variant).Load() > 0 {
			return true
		}
	}
	return false
}

// route finds the shards that the message goes to.
func (d *Delivery) route() {
	t, s := &d.Message.Target, d.srv
	if t.Scope <= message.ScopeTopics {
		d.queue, d.shards = poller.QueueBulk, s.shards
		return
	}
	d.queue = poller.QueueSingle
	if d.homes = d.only[:0]; len(t.Names) > 1 {
		d.homes = make([]home, 0, len(t.Names))
	}
	for _, name := range t.Names {
		at := home{shard: -1}
		if t.Scope == message.ScopeUsers {
			at.shard, at.hash = s.homeOf(name)
		} else if n, ok := s.parseOwn(name); ok {
			at.shard, at.id = int(n.Shard), poller.ID(n.Conn)
		}
		d.homes = append(d.homes, at)
		switch {
		case at.shard < 0:
		case d.shards == nil:
			d.shards = s.shards[at.shard : at.shard+1 : at.shard+1] // append copies it
		case !slices.Contains(d.shards, s.shards[at.shard]):
			d.shards = append(d.shards, s.shards[at.shard])
		}
	}
}

// parseOwn parses a session id; ok is false unless this node made it.
func (s *Server) parseOwn(sid string) (message.SID, bool) {
	n, ok := message.ParseSID(sid, &s.opt.Key)
	return n, ok && n.Node == s.opt.Node && int(n.Shard) < len(s.shards)
}

// frameRoom is how many bytes an encoding usually adds to a payload.
const frameRoom = 16

// encode builds the message's frame for a variant. If the encoding panics the
// frame is empty: the fault costs this message only.
func (d *Delivery) encode(variant uint8) (frame []byte, ok bool) {
	v := &d.srv.protocols.variants[variant]
	w := d.srv.writers.Get().(*wire.Writer)
	defer func() {
		if r := recover(); r != nil {
			d.srv.faults.Add(1)
			d.srv.opt.Log.Error("an encoding panicked; its clients do not get the message", zap.String("transport", v.Transport.Name()),
				zap.String("encoding", v.Encoding.Name()), zap.String("id", d.Message.ID), zap.Any("panic", r), zap.Stack("stack"))
			frame, ok = nil, false
		}
	}()
	w.Reset(v.Transport, make([]byte, 0, len(d.Message.Payload)+frameRoom))
	v.Encoding.Message(w, d.Message)
	frame = slices.Clip(w.Bytes())
	w.Reset(nil, nil)
	d.srv.writers.Put(w)
	return frame, true
}

// batch returns the message's frame for a variant, as a batch of one. It encodes
// the message if the variant was not in use when the message was prepared. Any
// shard.
func (d *Delivery) batch(variant uint8) *poller.Frames {
	p := &d.batches[variant]
	if b := p.Load(); b != nil {
		return b
	}
	frame, _ := d.encode(variant)
	p.CompareAndSwap(nil, d.newBatch(frame))
	return p.Load()
}

// newBatch makes a batch of one.
func (d *Delivery) newBatch(frame []byte) *poller.Frames {
	f := poller.NewFrame(frame, d.key)
	if d.tally != nil {
		f = poller.NewWatchedFrame(frame, d.key, d.tally)
	}
	if !d.Message.Expires.IsZero() {
		f.Expiring(&d.Message.Expires)
	}
	return poller.NewFrames(f)
}

// frame returns the frame that batch holds.
func (d *Delivery) frame(variant uint8) *poller.Frame { return d.batch(variant).At(0) }

// excluding says whether the target excludes a session or topics.
func (d *Delivery) excluding() bool { return d.without || len(d.Message.Target.ExcludeTopics) > 0 }

// excludes says whether a session of the topics' shard does not get the message
// although the target's names match it.
func (d *Delivery) excludes(ts *topics, slot uint32) bool {
	if d.without && int(d.exclude.Shard) == ts.ps.Index() && poller.ID(d.exclude.Conn) == ts.ps.ID(slot) {
		return true
	}
	for _, name := range d.Message.Target.ExcludeTopics {
		if ts.has(ts.rec(slot), name) {
			return true
		}
	}
	return false
}

// done is called once by each shard, when it has sent the message.
func (d *Delivery) done() {
	if d.left.Add(-1) == 0 {
		d.srv.mailBytes.Add(-d.size)
		d.leaveSpread()
		if d.tally != nil {
			d.tally.end()
		}
		if d.imported > 0 {
			d.shards[0].taking.sentOne(d.imported - 1)
		}
	}
}

// conflationKey hashes a message's key, or its target if it has none, to
// something other than 0 (FNV-1a, 64 bits).
func conflationKey(m *message.Message) uint64 {
	const offset, prime = 14695981039346656037, 1099511628211
	sum := uint64(offset)
	add := func(s string) {
		for i := range len(s) {
			sum = (sum ^ uint64(s[i])) * prime
		}
	}
	if m.Membership != message.NoMembership { // it must not replace what was pushed
		add("m" + m.Membership.String())
	}
	if m.Key != "" {
		add("k")
		add(m.Key)
		return sum | 1
	}
	sum = (sum ^ uint64('0'+byte(m.Target.Scope))) * prime
	for _, n := range m.Target.Names {
		add(n)
		add("\x00")
	}
	return sum | 1
}
