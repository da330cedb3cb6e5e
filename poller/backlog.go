package poller

// backlog is the frames that wait to be sent to one connection. The first may be
// partly sent. It exists only while frames wait.
type backlog struct {
	frames   []*Frame // a ring
	head, n  int
	sent     int    // bytes of the first frame that the kernel took
	bytes    int    // of all frames, without sent
	controls int    // control frames among them
	expiring int    // frames among them that have a time to expire
	since    uint32 // tick at which the first frame was queued
	partial  bool   // the first frame is the rest of bytes that the connection had in another shard

	// Used by backlogClasses and sender.evict.
	id         ID
	evicted    bool // it was evicted, and will not be again
	class      int  // size class, if listed
	listed     bool // it is in the list of its class
	prev, next *backlog
}

// started says that a part of the first frame was sent, so that its rest must
// follow.
func (q *backlog) started() bool { return q.sent > 0 || q.partial }

// pushRest queues, as the first frame, the bytes that waited for the connection in
// another shard. They may begin in the middle of a frame, so together they count
// as one frame that is partly sent.
func (q *backlog) pushRest(f *Frame) {
	q.push(f)
	q.partial = true
}

// at returns the index in the ring of the i-th waiting frame.
func (q *backlog) at(i int) int { return (q.head + i) & (len(q.frames) - 1) }

func (q *backlog) push(f *Frame) {
	q.grow()
	q.frames[q.at(q.n)] = f
	q.n++
	q.counted(f, 1)
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

// counted counts a frame that came (1) or goes (-1).
func (q *backlog) counted(f *Frame, n int) {
	if f.expires != nil {
		q.expiring += n
	}
}

// insertControl puts f ahead of the waiting data, but behind a frame that is partly
// sent and behind earlier control frames.
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

// front returns the unsent bytes of the first frame.
func (q *backlog) front() []byte { return q.frames[q.head].b[q.sent:] }

// join appends the unsent bytes of the first frames to dst: at least one frame, and
// further complete frames while dst has at most limit bytes.
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

// advance removes n sent bytes from the front, and calls done for each frame that
// was sent completely.
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

// pop removes the first frame. Its bytes are no longer in q.bytes.
func (q *backlog) pop() {
	if q.frames[q.head].class == Control {
		q.controls--
	}
	q.counted(q.frames[q.head], -1)
	q.frames[q.head] = nil
	q.head = q.at(1)
	q.n--
	q.sent, q.partial = 0, false
}

// removeOldest removes the oldest frame that a policy may drop. It returns nil if
// there is none.
func (q *backlog) removeOldest() *Frame {
	return q.removeFirst(func(f *Frame) bool { return !f.own })
}

// removeKey removes the frame with the key. There is at most one; it returns nil if
// there is none.
func (q *backlog) removeKey(key uint64) *Frame {
	return q.removeFirst(func(f *Frame) bool { return f.key == key && !f.own })
}

// removeControl removes the control frame of a kind. There is at most one; it
// returns nil if there is none.
func (q *backlog) removeControl(kind byte) *Frame {
	if q.controls == 0 {
		return nil
	}
	return q.removeFirst(func(f *Frame) bool { return f.class == Control && f.b[0] == kind })
}

// removeFirst removes the first frame for which match returns true, but never one
// that is partly sent. It returns nil if there is none.
func (q *backlog) removeFirst(match func(*Frame) bool) *Frame {
	for i := range q.n {
		f := q.frames[q.at(i)]
		if i == 0 && q.started() || !match(f) {
			continue
		}
		if f.class == Control {
			q.controls--
		}
		q.counted(f, -1)
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
