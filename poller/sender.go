package poller

import "syscall"

// sender is the sending half of a shard. It owns what is on its way to the
// sockets: sends that are staged for one system call, the backlogs of
// connections that read slowly, and the refusals that the handler has not been
// told of yet. All of it belongs to the shard's goroutine.
type sender struct {
	conns     *conns // all that it knows of connections
	opt       *Options
	counters  *Counters
	submitted func() // Handler.OnSubmitted

	stage    stage
	backlogs backlogs
	refusals []refusal
	joined   []byte // waiting frames are copied here to go in one send
	direct   int    // sends that were not staged
	written  uint64 // bytes since the turn before ended
}

// refusal is a send that failed and whose handler has not been told yet.
type refusal struct {
	id     ID
	result SendResult
}

// SendResult says what became of a send.
type SendResult uint8

const (
	sendDone    SendResult = iota // the kernel has all of it
	sendQueued                    // what the kernel did not take waits
	sendDropped                   // the policy dropped it or something older
	sendClosed                    // nothing is sent to the connection any more: OnClose tells, or the handler knows

	// FramesFull and BytesFull: the connection's backlog is at its bound in
	// frames, or in bytes.
	FramesFull
	BytesFull
	// NodeFull: the node's backlog is at its bound, and the connection has the
	// largest queue. Either its send was refused, or all that waited for it
	// was dropped to make room for another connection.
	NodeFull
	// ControlLost: the node's backlog is at its bound, and a control frame was
	// given up. The connection can go on without it.
	ControlLost
)

func (x *sender) init(s *Shard) {
	x.conns, x.opt, x.counters = &s.conns, s.opt, &s.Counters
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
		x.submit() // what was staged goes first, and may have to wait
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

// directSends is how many sends, each a system call of its own, take about as
// long as the submission of what is staged.
const directSends = 16

// copyOwn copies bytes that only one connection gets to the stage. It returns
// false if there are too many of them.
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

// sendNow sends a payload without staging it, or queues it behind what waits.
// Nothing may be staged for the connection.
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
	clear(x.stage.sends[:n]) // frames must not be kept alive
	x.submitted()
}

// complete acts on the result of a send that took n bytes of p or failed.
func (x *sender) complete(slot uint32, c *conn, p Payload, class Class, n int, e syscall.Errno) SendResult {
	if n > 0 {
		x.wrote(c, n)
	}
	if n == len(p.bytes) {
		return sendDone
	}
	if e != 0 && e != syscall.EAGAIN && e != syscall.EINTR {
		x.conns.closeLater(slot, ReasonWrite, e)
		return sendClosed
	}
	if p.frames != nil {
		x.counters.ShortWrites.Add(1)
	}
	return x.enqueue(slot, c, p, class, n)
}

// wrote counts n bytes that went out to a connection.
func (x *sender) wrote(c *conn, n int) {
	c.lastWrite = x.conns.now
	x.written += uint64(n)
}

// refused notes that a send failed. The handler is told later: it is in the
// middle of something, often about another connection.
func (x *sender) refused(slot uint32, r SendResult) {
	if r > sendClosed {
		x.conns.at(slot).flags |= flagRefused
		x.refusals = append(x.refusals, refusal{x.conns.id(slot), r})
	}
}

// progress returns how many bytes were sent or staged since the turn began.
func (x *sender) progress() uint64 { return x.written + uint64(x.stage.bytes) }

// takeWritten returns how many bytes were sent since it was called before.
func (x *sender) takeWritten() (n uint64) {
	n, x.written = x.written, 0
	return n
}

// close gives back what the sender holds of the kernel.
func (x *sender) close() { x.stage.closeRing() }
