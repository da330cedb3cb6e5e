package session

import (
	"fmt"

	"belfry/message"
	"belfry/poller"
)

// Successor is what a shard tells the process that it takes sessions over from. Shards
// call it on their own goroutines; no method blocks.
type Successor interface {
	// Begun says how many of the messages of ImportMessage the shard has begun to send.
	Begun(shard int, messages uint64)
	// Ended names connections that the shard took over and closed.
	Ended(shard int, ids []poller.ID)
}

// taking takes sessions over from another process. Until that process has left,
// connections that end are told to it, because it has copies of their descriptors.
// Owned by the shard.
type taking struct {
	env
	h *shard

	from    Successor   // nil: nothing is taken over
	taken   bool        // some session was taken over and the other process may want it back
	ended   []poller.ID // not told yet
	bulk    uint64      // messages that came
	begun   uint64      // of these, those that were begun
	waiting []uint64    // numbers of fan-out items of those that were not
	told    uint64
	extra   map[poller.ID][]byte // fields of a later version, by connection
	marks   []byte               // by slot: not 0 if the session was read or changed
}

// batch opens the connections of a batch.
func (t *taking) batch(b *Batch) error {
	head, p, err := parseBatchHead(b.State)
	if err != nil {
		return err
	}
	t.ps.Opened(head.generation)
	n := 0
	for len(p) > 0 {
		var fields []byte
		if fields, p, err = nextHanded(p); err != nil {
			return err
		}
		if n == len(b.FDs) {
			return fmt.Errorf("session: a batch with %d descriptors for more sessions", n)
		}
		var it handed
		if err := it.parse(fields, head.ticks); err != nil {
			return err
		}
		it.conn.FD = b.FDs[n]
		if err := t.h.takeOver(&it); err != nil {
			return err
		}
		b.FDs[n] = -1
		n++
		if len(it.unknown) > 0 {
			if t.extra == nil {
				t.extra = map[poller.ID][]byte{}
			}
			t.extra[it.conn.ID] = append([]byte(nil), it.unknown...)
		}
	}
	if n != len(b.FDs) {
		return fmt.Errorf("session: a batch of %d sessions with %d descriptors", n, len(b.FDs))
	}
	t.taken = true
	return nil
}

// message sends a message that the other process has begun to send.
func (t *taking) message(d *Delivery) {
	counts := d.queue == poller.QueueBulk || d.Message.Target.Scope == message.ScopeUsers
	before := t.h.fanout.added
	t.h.dispatcher.dispatch(d)
	if !counts {
		return
	}
	t.bulk++
	if t.h.fanout.added > before {
		t.waiting = append(t.waiting, t.h.fanout.added)
	}
}

// tell tells what has begun and ended since.
func (t *taking) tell() {
	if t.from == nil {
		return
	}
	n := 0
	for n < len(t.waiting) && t.waiting[n] <= t.h.fanout.begun {
		n++
	}
	if t.waiting = t.waiting[n:]; len(t.waiting) == 0 {
		t.waiting = nil
	}
	if t.begun = t.bulk - uint64(len(t.waiting)); t.begun != t.told {
		t.told = t.begun
		t.from.Begun(t.index, t.begun)
	}
	if len(t.ended) > 0 {
		t.from.Ended(t.index, t.ended)
		t.ended = nil
	}
}

// closing is called before a connection is closed: the other process has a copy of the
// descriptor, which would keep the connection open.
func (t *taking) closing(slot uint32) {
	delete(t.extra, t.ps.ID(slot))
	if t.from == nil || !t.taken {
		return
	}
	t.ps.Shutdown(slot)
	t.ended = append(t.ended, t.ps.ID(slot))
	t.ps.Wake()
}

// touch notes that a session was read or changed, for the case that this process dies.
func (t *taking) touch(slot uint32) {
	if t.from != nil && int(slot) < len(t.marks) {
		t.marks[slot] = 1
	}
}

// serves ends the time in which the other process may want sessions back.
func (t *taking) serves() {
	t.from, t.taken, t.marks = nil, false, nil
	t.waiting, t.ended = nil, nil
}
