package poller

// enqueue puts a payload, of which sent bytes are on the wire, behind what
// waits for a connection.
func (x *sender) enqueue(slot uint32, c *conn, p Payload, class Class, sent int) SendResult {
	switch {
	case c.flags&flagsNoSend != 0:
		return sendClosed
	case class == Control && sent == 0:
		return x.enqueueControl(slot, c, p.bytes[p.newest:])
	case p.frames != nil:
		return x.enqueueShared(slot, c, p.frames.list, sent)
	case class == Control:
		class = Data // the rest of control frames that have begun, which must follow
	}
	// The copy is whole, with what is on the wire marked as sent: the rest of a
	// frame that has begun must not be parted from it.
	f := &Frame{b: append([]byte(nil), p.bytes...), own: true, class: class}
	return x.enqueueFrame(slot, c, f, sent)
}

// enqueueShared puts the frames that are not on the wire yet behind what waits.
func (x *sender) enqueueShared(slot uint32, c *conn, frames []*Frame, sent int) SendResult {
	for sent >= len(frames[0].b) && sent > 0 {
		sent -= len(frames[0].b)
		frames = frames[1:]
	}
	result := sendQueued
	for _, f := range frames {
		r := x.enqueueFrame(slot, c, f, sent)
		if r > sendDropped {
			return r
		}
		result = max(result, r)
		sent = 0
	}
	return result
}

// enqueueFrame puts f, of which sent bytes are on the wire, behind what waits.
func (x *sender) enqueueFrame(slot uint32, c *conn, f *Frame, sent int) SendResult {
	if len(f.b) == 0 {
		return sendQueued // no send would ever take it off the queue
	}
	q := x.backlogs.of(c)
	if q == nil {
		q = x.backlogs.open(x.conns.id(slot), c, x.conns.now)
	}
	result, fits := sendQueued, true
	if sent == 0 { // the rest of a frame that has begun must follow, whatever the bounds
		result, fits = x.makeRoom(c, q, f)
	}
	if fits {
		x.backlogs.retain(f)
		q.push(f)
		if sent > 0 {
			q.sent = sent
			q.bytes -= sent
		}
		x.backlogs.ranks.update(q)
	} else if q.n == 0 {
		x.backlogs.close(c)
	}
	x.conns.updateEvents(slot, c)
	return result
}

// enqueueControl puts a control frame ahead of the data that waits, in place of
// an older one of its kind.
func (x *sender) enqueueControl(slot uint32, c *conn, p []byte) SendResult {
	q := x.backlogs.of(c)
	if q != nil {
		if old := q.removeControl(p[0]); old != nil {
			x.backlogs.release(old)
			x.counters.ControlsDropped.Add(1)
		}
	}
	if !x.backlogs.nodeFits(len(p), x.opt.NodeBytes) {
		x.counters.ControlsDropped.Add(1)
		if q != nil && q.n == 0 {
			x.backlogs.close(c)
			x.conns.updateEvents(slot, c)
		}
		return ControlLost
	}
	if q == nil {
		q = x.backlogs.open(x.conns.id(slot), c, x.conns.now)
	}
	f := &Frame{b: append([]byte(nil), p...), own: true, class: Control}
	x.backlogs.retain(f)
	q.insertControl(f)
	x.backlogs.ranks.update(q)
	x.conns.updateEvents(slot, c)
	return sendQueued
}

// adopt has a connection that comes from elsewhere send first what was not
// sent there, and then, if told, shut down for writing.
func (x *sender) adopt(slot uint32, c *conn, unsent []byte, closeWrite bool) {
	if closeWrite {
		c.flags |= flagCloseWrite
	}
	if len(unsent) == 0 {
		if closeWrite {
			c.shutdown()
		}
		return
	}
	f := &Frame{b: unsent, own: true}
	q := x.backlogs.open(x.conns.id(slot), c, x.conns.now)
	x.backlogs.retain(f)
	q.pushRest(f)
	x.backlogs.ranks.update(q)
}

// unsent returns a copy of what waits for a connection.
func (x *sender) unsent(c *conn) []byte {
	if q := x.backlogs.of(c); q != nil {
		return q.join(nil, q.bytes)
	}
	return nil
}
