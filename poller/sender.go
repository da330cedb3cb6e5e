package poller

import (
	"slices"
	"syscall"
)

// sender is the sending half of a shard. It owns the bytes on their way to the
// sockets: sends that are staged for one system call, and the backlogs of
// connections that read slowly. It also owns the refusals that the handler has
// not been told of yet. It belongs to the shard's goroutine.
type sender struct {
	conns     *conns
	opt       *Options
	counters  *Counters
	shard     int    // index of the shard
	submitted func() // Handler.OnSubmitted

	stage    stage
	backlogs backlogs
	refusals []refusal
	told     int    // refusals of this turn that the handler has been told of
	joined   []byte // buffer in which waiting frames are joined for one send
	direct   int    // sends that were not staged
	written  uint64 // bytes since takeWritten was last called
}

// refusal is a refused send of which the handler is told at the end of the turn.
type refusal struct {
	id     ID // 0: the connection has moved and taken the refusal with it
	result SendResult
}

// SendResult is the result of a send.
type SendResult uint8

const (
	sendDone    SendResult = iota // the kernel took all bytes
	sendQueued                    // bytes that the kernel did not take wait
	sendDropped                   // the policy dropped the payload or older frames
	sendClosed                    // nothing can be sent to the connection any more; the handler knows, or OnClose follows

	// FramesFull: the connection's backlog has as many frames as allowed.
	FramesFull
	// BytesFull: the connection's backlog has as many bytes as allowed.
	BytesFull
	// NodeFull: the backlogs of the node have Options.NodeBytes, and the
	// connection has the largest of its shard. Either its send was refused, or
	// its backlog was dropped to make room for another connection.
	NodeFull
	// ControlLost: the backlogs of the node have Options.NodeBytes, and a control
	// frame was dropped. The connection can continue without it.
	ControlLost
)

func (x *sender) init(s *Shard) {
	x.conns, x.opt, x.counters, x.shard = &s.conns, s.opt, &s.Counters, s.index
	x.submitted = func() { s.handler.OnSubmitted() }
	x.stage.init(s)
	x.backlogs.node = &s.loop.nodeBytes
}

// send stages a payload, or sends it at once where it cannot be staged.
func (x *sender) send(slot uint32, p Payload, class Class) (pause bool) {
	if len(p.bytes) == 0 {
		return false
	}
	if class != Data {
		p.frames = nil
	}
	c := x.conns.at(slot)
	if c.flags&flagStaged != 0 {
		x.submit() // the earlier send goes first
	}
	if c.backlog == 0 && c.flags&flagsNoSend == 0 && x.stage.usable() && x.copyOwn(&p) {
		c.flags |= flagStaged
		if full := x.stage.add(slot, c.fd, p, class); full {
			x.submit()
			return true
		}
		return false
	}
	x.refused(slot, x.sendNow(slot, c, p, class))
	x.direct++
	return x.direct%directSends == 0
}

// directSends is how many sends with a system call each take about as long as the
// submission of a full stage.
const directSends = 16

// copyOwn copies the bytes of a payload for one connection into the stage. It
// returns false if they are more than stageCopy.
func (x *sender) copyOwn(p *Payload) bool {
	if p.frames != nil {
		return true
	}
	if len(p.bytes) > stageCopy {
		return false
	}
	copied, ok := x.stage.copy(p.bytes)
	if !ok {
		x.submit()
		copied, _ = x.stage.copy(p.bytes)
	}
	p.bytes = copied
	return true
}

// sendNow sends a payload without staging it, or queues it if other bytes wait
// already. No send to the connection may be staged.
func (x *sender) sendNow(slot uint32, c *conn, p Payload, class Class) SendResult {
	if c.backlog != 0 || c.flags&flagsNoSend != 0 {
		return x.enqueue(slot, c, p, class, 0)
	}
	n, e := sysSend(c.fd, p.bytes)
	return x.complete(slot, c, p, class, n, e)
}

// submit sends what is staged.
func (x *sender) submit() {
	if x.stage.n == 0 {
		return
	}
	n, taken := x.stage.submit()
	for i := range n {
		s := &x.stage.sends[i]
		c := x.conns.at(s.slot)
		c.flags &^= flagStaged
		sent, e := x.stage.result(i)
		if i >= taken {
			sent, e = sysSend(c.fd, s.payload.bytes)
		}
		if sent == len(s.payload.bytes) { // nearly always
			x.wrote(c, sent)
			continue
		}
		x.refused(s.slot, x.complete(s.slot, c, s.payload, s.class, sent, e))
	}
	clear(x.stage.sends[:n]) // so that frames can be collected
	x.submitted()
}

// complete handles the result of a send: the kernel took n bytes of p, or failed
// with e.
func (x *sender) complete(slot uint32, c *conn, p Payload, class Class, n int, e syscall.Errno) SendResult {
	if n > 0 {
		x.wrote(c, n)
	}
	if n == len(p.bytes) {
		return sendDone
	}
	if e != 0 && e != syscall.EAGAIN && e != syscall.EINTR {
		x.conns.closeLater(slot, ReasonWrite, e)
		x.tellRest(slot, &p, n, sendClosed)
		return sendClosed
	}
	if p.frames != nil {
		x.counters.ShortWrites.Add(1)
	}
	return x.enqueue(slot, c, p, class, n)
}

// wrote counts n bytes that the kernel took for a connection.
func (x *sender) wrote(c *conn, n int) {
	c.lastWrite = x.conns.now
	x.written += uint64(n)
}

// refused notes a refused send. The handler is told at the end of the turn: now it
// may be working on another connection.
func (x *sender) refused(slot uint32, r SendResult) {
	if r > sendClosed {
		x.conns.at(slot).flags |= flagRefused
		x.refusals = append(x.refusals, refusal{x.conns.id(slot), r})
	}
}

// untold says whether the handler is still to be told of a refused send to a
// connection.
func (x *sender) untold(slot uint32) bool {
	if x.conns.at(slot).flags&flagRefused == 0 {
		return false
	}
	id := x.conns.id(slot)
	return slices.ContainsFunc(x.refusals[x.told:], func(r refusal) bool { return r.id == id })
}

// takeRefusals returns what a connection that moves takes with it: the refused
// sends of which the handler was not told, and whether the connection was evicted.
// The handler of the other shard is told of an eviction in any case: what the
// handler here was told does not help it.
func (x *sender) takeRefusals(slot uint32) (results []SendResult, evicted bool) {
	id, flags := x.conns.id(slot), x.conns.at(slot).flags
	if flags&flagRefused != 0 {
		for i := x.told; i < len(x.refusals); i++ {
			if r := &x.refusals[i]; r.id == id {
				results = append(results, r.result)
				r.id = 0
			}
		}
	}
	evicted = flags&flagEvicted != 0
	if evicted && !slices.Contains(results, NodeFull) {
		results = append(results, NodeFull)
	}
	return results, evicted
}

// forgetRefusals is called when the handler has been told of all refused sends.
func (x *sender) forgetRefusals() {
	for _, r := range x.refusals {
		if slot, ok := x.conns.lookup(r.id); ok {
			x.conns.at(slot).flags &^= flagRefused
		}
	}
	x.told = 0
	if x.refusals = x.refusals[:0]; cap(x.refusals) > 1024 {
		x.refusals = nil
	}
}

// progress returns how many bytes were sent since takeWritten was last called, or
// are staged.
func (x *sender) progress() uint64 { return x.written + uint64(x.stage.bytes) }

// takeWritten returns how many bytes were sent since its last call.
func (x *sender) takeWritten() (n uint64) {
	n, x.written = x.written, 0
	return n
}

// close gives the kernel's resources back.
func (x *sender) close() { x.stage.closeRing() }
