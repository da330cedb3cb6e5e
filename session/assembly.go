package session

import (
	"unsafe"

	"belfry/offheap"
	"belfry/poller"
	"belfry/ws"
)

// What an assembly keeps for use again. Each tick frees half of the buffers.
const (
	spareInbounds = 64
	spareBytes    = 64 << 10 // of buffers on the Go heap
)

// assembly holds the messages of a shard's connections that are not complete. Each
// is charged to its connection with what its buffer takes. Owned by the shard.
type assembly struct {
	ps      *poller.Shard
	table   *offheap.Table // by slot: position in index. The slot is hash and key at once
	index   offheap.Index[*inbound]
	buffers offheap.Buffers
	free    []*inbound
	spare   [][]byte
	spared  int // bytes in spare

	// List of the messages whose clock runs, in the order in which they began.
	oldest, newest *inbound
}

// inbound is a message of a connection that is not complete.
type inbound struct {
	ws.Inbound
	of           *assembly
	slot         uint32
	at           uint32 // in assembly.index
	mapped       bool   // its buffer is a mapping of its own
	waits        bool   // in the list of messages whose clock runs
	since        uint32 // tick at which the message began, if waits
	renewed      uint8  // how often its clock was started again after a pause
	older, newer *inbound
}

// decoder returns the part of in that wire.Decoder.Next uses; nil if in is nil.
func (in *inbound) decoder() *ws.Inbound {
	if in == nil {
		return nil
	}
	return &in.Inbound
}

// Active says whether a message is in progress. It is false for a nil inbound.
func (in *inbound) Active() bool { return in != nil && in.Inbound.Active() }

// Grow implements ws.Allocator.
func (in *inbound) Grow(buf []byte, size int) ([]byte, bool) { return in.of.enlarge(in, buf, size) }

// inboundSize is how many bytes are charged for an inbound without its buffer.
const inboundSize = int(unsafe.Sizeof(inbound{}))

// open gives a connection an inbound, without a buffer. It returns nil if the
// node has no room for it (session.inbound_bytes).
func (m *assembly) open(slot uint32, rec *record) *inbound {
	if !m.ps.Charge(slot, inboundSize) {
		return nil
	}
	var in *inbound
	if n := len(m.free); n > 0 {
		in = m.free[n-1]
		m.free = m.free[:n-1]
	} else {
		in = new(inbound)
	}
	at := m.index.Put(in)
	if m.table.Insert(slot, at) != nil {
		m.index.Drop(at)
		m.ps.Uncharge(slot, inboundSize)
		return nil
	}
	in.of, in.slot, in.at, in.Alloc = m, slot, at, in
	rec.flags |= flagInbound
	return in
}

// of returns the connection's inbound, nil if it has none.
func (m *assembly) of(slot uint32, rec *record) *inbound {
	if rec.flags&flagInbound == 0 {
		return nil
	}
	p := m.table.Probe(slot)
	p.Next()
	return m.index.Get(p.Val())
}

// drop frees a connection's inbound, if it has one, and takes back the charge.
func (m *assembly) drop(slot uint32, rec *record) {
	if in := m.of(slot, rec); in != nil {
		rec.flags &^= flagInbound
		m.forget(in)
	}
}

func (m *assembly) forget(in *inbound) {
	m.table.Delete(in.slot, in.at)
	m.index.Drop(in.at)
	m.stopClock(in)
	m.ps.Uncharge(in.slot, inboundSize+in.Cap())
	m.release(in)
	*in = inbound{}
	if len(m.free) < spareInbounds {
		m.free = append(m.free, in)
	}
}

// dropIdle drops a connection's inbound unless a message is in progress: the
// connection's next frame may come much later.
func (m *assembly) dropIdle(slot uint32, rec *record) {
	if in := m.of(slot, rec); in != nil && !in.Active() && !in.waits {
		m.drop(slot, rec)
	}
}

// release frees the buffer of an inbound, or keeps it for the next.
func (m *assembly) release(in *inbound) {
	buf := in.Reset()
	switch size := cap(buf); {
	case in.mapped:
		m.buffers.Free(buf, true)
	case size > 0 && m.spared+size <= spareBytes:
		m.spare = append(m.spare, buf[:0])
		m.spared += size
	}
}

// enlarge returns a buffer of at least size bytes for in, with the contents of buf,
// its buffer so far, which must not be used any more. ok is false if the node has
// no room for it; buf is then returned as it was.
func (m *assembly) enlarge(in *inbound, buf []byte, size int) (grown []byte, ok bool) {
	if n := len(m.spare); n > 0 && buf == nil && cap(m.spare[n-1]) >= size {
		b := m.spare[n-1]
		if !m.ps.Charge(in.slot, cap(b)) {
			return buf, false
		}
		m.spare[n-1] = nil
		m.spare = m.spare[:n-1]
		m.spared -= cap(b)
		return b, true
	}
	if !m.ps.Charge(in.slot, offheap.BufferSize(size)-cap(buf)) {
		return buf, false
	}
	grown, in.mapped = m.buffers.Grow(buf, in.mapped, size)
	return grown, true
}

// startClock notes that a message of in began at tick now and is not complete.
// Nothing changes if the clock runs already.
func (m *assembly) startClock(in *inbound, now uint32) {
	if in.waits {
		return
	}
	in.waits, in.since = true, now
	in.older, in.newer = m.newest, nil
	if in.older == nil {
		m.oldest = in
	} else {
		in.older.newer = in
	}
	m.newest = in
}

// stopClock notes that no message of in is in progress.
func (m *assembly) stopClock(in *inbound) {
	if !in.waits {
		return
	}
	if in.older == nil {
		m.oldest = in.newer
	} else {
		in.older.newer = in.newer
	}
	if in.newer == nil {
		m.newest = in.older
	} else {
		in.newer.older = in.older
	}
	in.waits, in.renewed, in.older, in.newer = false, 0, nil, nil
}

// maxRenewals is how often the clock of a message is started again because its
// connection was not read for a while. Without a limit a client could get itself
// paused again and again.
const maxRenewals = 3

// overdue returns a message that began limit ticks ago or earlier, nil if there is
// none. After a pause in reading the clock is started again, up to maxRenewals
// times.
func (m *assembly) overdue(now, limit uint32) *inbound {
	for in := m.oldest; in != nil && now-in.since >= limit; in = m.oldest {
		renewed := in.renewed
		if !m.ps.Paused(in.slot) {
			resumed, was := m.ps.Resumed(in.slot)
			if !was || now-resumed >= limit || renewed == maxRenewals {
				return in
			}
			renewed++
		}
		m.stopClock(in)
		m.startClock(in, now)
		in.renewed = renewed
	}
	return nil
}

// trim frees half of the spare buffers.
func (m *assembly) trim() {
	m.table.Trim()
	for keep := len(m.spare) / 2; len(m.spare) > keep; {
		n := len(m.spare) - 1
		m.spared -= cap(m.spare[n])
		m.spare[n] = nil
		m.spare = m.spare[:n]
	}
}

// close frees everything.
func (m *assembly) close() {
	for n := uint32(1); m.index.Len() > 0; n++ {
		if in := m.index.Get(n); in != nil {
			m.forget(in)
		}
	}
	m.table.Close()
}
