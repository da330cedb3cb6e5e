package poller

// enqueue puts a payload, of which the kernel took sent bytes, into the backlog of
// a connection.
func (x *sender) enqueue(slot uint32, c *conn, p Payload, class Class, sent int) SendResult {
	switch {
	case c.flags&flagsNoSend != 0:
		x.tellRest(slot, &p, sent, sendClosed)
		return sendClosed
	case class == Control && sent == 0:
		return x.enqueueControl(slot, c, p.bytes[p.newest:])
	case p.frames != nil:
		return x.enqueueShared(slot, c, p.frames.list, sent)
	case class == Control:
		class = Data // control frames that are partly sent: their rest must follow
	}
	// The whole payload is copied and its beginning marked as sent, so that its rest
	// counts as a frame that is partly sent.
	f := &Frame{b: append([]byte(nil), p.bytes...), own: true, class: class}
	return x.enqueueFrame(slot, c, f, sent)
}

// enqueueShared puts the frames behind the first sent bytes into the backlog.
func (x *sender) enqueueShared(slot uint32, c *conn, frames []*Frame, sent int) SendResult {
	for sent >= len(frames[0].b) && sent > 0 {
		sent -= len(frames[0].b)
		frames = frames[1:]
	}
	result := sendQueued
	for i, f := range frames {
		r := x.enqueueFrame(slot, c, f, sent)
		if r > sendDropped {
			for _, behind := range frames[i+1:] {
				x.tellUnsent(slot, behind, r, false)
			}
			return r
		}
		result = max(result, r)
		sent = 0
	}
	return result
}

// enqueueFrame puts f, of which the kernel took sent bytes, into the backlog.
func (x *sender) enqueueFrame(slot uint32, c *conn, f *Frame, sent int) SendResult {
	if len(f.b) == 0 {
		return sendQueued // no send would ever remove it
	}
	q := x.backlogs.of(c)
	if q == nil {
		q = x.backlogs.open(x.conns.id(slot), c, x.conns.now)
	}
	result, fits := sendQueued, true
	if sent == 0 { // the rest of a frame that is partly sent must follow despite the limits
		result, fits = x.makeRoom(c, q, f)
	}
	x.tellUnsent(slot, f, result, fits)
	if fits {
		x.backlogs.retain(f)
		q.push(f)
		if sent > 0 {
			q.sent = sent
			q.bytes -= sent
		}
		x.backlogs.classes.update(q)
	} else if q.n == 0 {
		x.backlogs.close(c)
	}
	x.conns.updateEvents(slot, c)
	return result
}

// enqueueControl puts a control frame ahead of waiting data. It replaces an older
// one of its kind.
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
	x.backlogs.classes.update(q)
	x.conns.updateEvents(slot, c)
	return sendQueued
}

// adopt takes over what a connection brings from another shard or from outside:
// its unsent bytes, whether to shut it down for writing afterwards, and refusals
// that the handler is to be told of.
func (x *sender) adopt(slot uint32, c *conn, a *arrival) {
	if a.CloseWrite {
		c.flags |= flagCloseWrite
	}
	if a.evicted {
		c.flags |= flagEvicted
	}
	for _, r := range a.refused {
		x.refused(slot, r)
	}
	if len(a.Unsent) == 0 {
		if a.CloseWrite {
			c.shutdown()
		}
		return
	}
	f := &Frame{b: a.Unsent, own: true}
	q := x.backlogs.open(x.conns.id(slot), c, x.conns.now)
	q.evicted = a.evicted
	x.backlogs.retain(f)
	q.pushRest(f)
	x.backlogs.classes.update(q)
}

// unsent returns a copy of the bytes that wait for a connection, nil if none wait.
func (x *sender) unsent(c *conn) []byte {
	if q := x.backlogs.of(c); q != nil {
		return q.join(nil, q.bytes)
	}
	return nil
}
