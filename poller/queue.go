package poller

// backlog is what waits to be sent to one slow connection: references to
// frames, the first perhaps partly sent. It exists only while something waits.
type backlog struct {
	frames   []*Frame // a ring
	head, n  int
	sent     int    // bytes of the first frame that are on the wire
	bytes    int    // of all frames, without what is on the wire
	controls int    // control frames among them
	since    uint32 // tick at which something began to wait
	partial  bool   // the first frame is the rest of something that began in another queue

	// Of the shard's backlog.
	id         ID
	evicted    bool // it was evicted, and will not be again
	rank       int  // see ranks
	ranked     bool // it is in the list of its rank
	prev, next *backlog
}

// started says that the beginning of the first frame is on the wire, so that
// its rest must follow whatever happens.
func (q *backlog) started() bool { return q.sent > 0 || q.partial }

// pushRest begins the queue with the bytes that an earlier queue of the
// connection had left. They may begin in the middle of a frame, so all of them
// count as one frame that has begun.
func (q *backlog) pushRest(f *Frame) {
	q.push(f)
	q.partial = true
}

// at returns the place in the ring of the i-th waiting frame.
func (q *backlog) at(i int) int { return (q.head + i) & (len(q.frames) - 1) }

func (q *backlog) push(f *Frame) {
	q.grow()
	q.frames[q.at(q.n)] = f
	q.n++
	q.bytes += len(f.b)
}

func (q *backlog) grow() {
	if q.n < len(q.frames) {
		return
	}
	bigger := make([]*Frame, max(8, 2*len(q.frames)))
	for i := range q.n {
		bigger[i] = q.frames[q.at(i)]
	}
	q.frames, q.head = bigger, 0
}

// insertControl puts f behind the frame that is partly sent and the controls
// that wait already, ahead of all other frames.
func (q *backlog) insertControl(f *Frame) {
	to := q.controls
	if q.started() && q.frames[q.head].class != Control {
		to++
	}
	q.push(f)
	for i := q.n - 1; i > to; i-- {
		q.frames[q.at(i)], q.frames[q.at(i-1)] = q.frames[q.at(i-1)], q.frames[q.at(i)]
	}
	q.controls++
}

// front returns the bytes to be sent first.
func (q *backlog) front() []byte { return q.frames[q.head].b[q.sent:] }

// join appends the bytes of the first frames to dst, whole frames while they
// fit into limit bytes but at least one.
func (q *backlog) join(dst []byte, limit int) []byte {
	dst = append(dst, q.front()...)
	for i := 1; i < q.n; i++ {
		b := q.frames[q.at(i)].b
		if len(dst)+len(b) > limit {
			break
		}
		dst = append(dst, b...)
	}
	return dst
}

// advance takes n sent bytes off the front and calls done for each frame that
// is complete.
func (q *backlog) advance(n int, done func(*Frame)) {
	q.bytes -= n
	for n > 0 {
		f := q.frames[q.head]
		left := len(f.b) - q.sent
		if n < left {
			q.sent += n
			return
		}
		n -= left
		q.pop()
		done(f)
	}
}

// pop removes the first frame, whose bytes are off the count already.
func (q *backlog) pop() {
	if q.frames[q.head].class == Control {
		q.controls--
	}
	q.frames[q.head] = nil
	q.head = q.at(1)
	q.n--
	q.sent, q.partial = 0, false
}

// removeOldest takes out the oldest frame that a policy may drop, nil if there
// is none.
func (q *backlog) removeOldest() *Frame {
	return q.removeFirst(func(f *Frame) bool { return !f.own })
}

// removeKey takes out the frame with the key, of which there is at most one.
func (q *backlog) removeKey(key uint64) *Frame {
	return q.removeFirst(func(f *Frame) bool { return f.key == key && !f.own })
}

// removeControl takes out the control frame of a kind, of which there is at
// most one.
func (q *backlog) removeControl(kind byte) *Frame {
	if q.controls == 0 {
		return nil
	}
	return q.removeFirst(func(f *Frame) bool { return f.class == Control && f.b[0] == kind })
}

// removeFirst takes out the first frame that match picks. One that is partly
// sent is never taken.
func (q *backlog) removeFirst(match func(*Frame) bool) *Frame {
	for i := range q.n {
		f := q.frames[q.at(i)]
		if i == 0 && q.started() || !match(f) {
			continue
		}
		if f.class == Control {
			q.controls--
		}
		for ; i > 0; i-- {
			q.frames[q.at(i)] = q.frames[q.at(i-1)]
		}
		q.frames[q.head] = nil
		q.head = q.at(1)
		q.n--
		q.bytes -= len(f.b)
		return f
	}
	return nil
}
