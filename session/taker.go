package session

import (
	"fmt"

	"belfry/poller"
)

// Successor is what a shard tells the process that it takes sessions over from. Shards
// call it on their own goroutines; no method blocks.
type Successor interface {
	// Ended names connections that the shard took over and closed.
	Ended(shard int, ids []poller.ID)
	// Sent names messages of ImportMessage that were sent, by their numbers from 0.
	Sent(shard int, numbers []uint64)
}

// taking takes sessions over from another process. Until that process has left,
// connections that end are told to it, because it has copies of their descriptors.
// Owned by the shard.
type taking struct {
	env
	h    *shard
	came uint64 // messages of ImportMessage; owned by its caller

	from    Successor            // nil: nothing is taken over
	taken   bool                 // some session was taken over and the other process may want it back
	ended   []poller.ID          // not told yet
	sent    []uint64             // numbers of messages of the other process that were sent, not told yet
	until   map[uint32]uint64    // by slot: the last fan-out item that the session has got in the other process
	borders []uint64             // the different values of until, rising
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

// border notes that a session has got what waits for a fan-out run here: the other process
// had begun to send it when the session left.
func (t *taking) border(slot uint32) {
	last := t.h.fanout.added
	if t.h.fanout.begun == last {
		return
	}
	if t.until == nil {
		t.until = map[uint32]uint64{}
	}
	t.until[slot] = last
	if n := len(t.borders); n == 0 || t.borders[n-1] != last {
		t.borders = append(t.borders, last)
	}
}

// next returns the number of the item behind which the next fan-out run has to end; ok is
// false if there is none. A run must not have both messages that a session has got and
// others. No run is in progress: borders behind the last one are forgotten.
func (t *taking) next() (n uint64, ok bool) {
	if len(t.borders) == 0 {
		return 0, false
	}
	for len(t.borders) > 0 && t.borders[0] <= t.h.fanout.begun {
		t.borders = t.borders[1:]
	}
	if len(t.borders) == 0 {
		t.borders, t.until = nil, nil
		return 0, false
	}
	return t.borders[0], true
}

// has says whether a session has got the messages of the present fan-out run.
func (t *taking) has(slot uint32) bool { return t.h.fanout.begun <= t.until[slot] }

// sentOne notes that a message of the other process was sent.
func (t *taking) sentOne(number uint64) {
	if t.from != nil {
		t.sent = append(t.sent, number)
	}
}

// tell tells what has ended, and what was sent, since.
func (t *taking) tell() {
	if t.from != nil && len(t.ended) > 0 {
		t.from.Ended(t.index, t.ended)
		t.ended = nil
	}
	if t.from != nil && len(t.sent) > 0 {
		t.from.Sent(t.index, t.sent)
		t.sent = nil
	}
}

// closing is called before a connection is closed: the other process has a copy of the
// descriptor, which would keep the connection open.
func (t *taking) closing(slot uint32) {
	delete(t.extra, t.ps.ID(slot))
	delete(t.until, slot)
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
	t.from, t.taken, t.marks, t.ended, t.sent = nil, false, nil, nil, nil
	t.ps.MarkBacklogs(nil)
}
