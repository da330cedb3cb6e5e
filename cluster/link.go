package cluster

import (
	"context"
	"time"

	"belfry/broadcast"
)

// link tells one other node what this node has in the buckets that the other keeps for
// it. It sends one body at a time and awaits its answer, so that a slow node is not
// flooded and a loss is noticed. After a body that was not answered it compares all
// buckets.
type link struct {
	dir    *Directory
	to     broadcast.Peer
	wake   chan struct{} // capacity 1: there is something to send
	retry  chan struct{} // capacity 1: do not wait, the other node is there again
	urgent chan struct{} // capacity 1: sessions wait to open
	cancel context.CancelFunc

	// Guarded by Directory.mu.
	queue     []byte             // whole items
	restating int                // bytes of the queue that announce buckets as a whole, about
	expects   []opening          // to be announced
	asked     []opening          // announced in the body that is awaited
	check     buckets            // to be compared
	restate   buckets            // to be announced as a whole
	later     buckets            // the other node does not know yet that it keeps them
	abort     context.CancelFunc // of the wait for an answer; nil: there is none
	sending   bool
	bad       bool      // the last body was not answered
	changed   bool      // something was queued since the last comparison
	next      time.Time // of the comparison

	places placeQueue // requests for places, of which the other node is the home
}

const (
	// maxQueue limits the changes that wait for a keeper, in bytes, beside one bucket that
	// is announced as a whole; beyond it they are forgotten and all buckets compared.
	maxQueue = 1 << 20
	// restatePause is the pause between two bodies while buckets are announced as a
	// whole, so that a node that joins 100 others is not flooded.
	restatePause = 2 * time.Millisecond
	// retryPause is the pause after a body that was not answered, or when the other
	// node does not know yet that it is the keeper.
	retryPause = 100 * time.Millisecond
	// quietCompare is how many times longer than Options.Compare it takes until the
	// next comparison with a node that was told nothing: an idle node must not wake up
	// for each of the others.
	quietCompare = 10
	// openPause is the pause between two bodies while sessions wait to open.
	openPause = 2 * time.Millisecond
)

// queued is called after something was put into the queue. Directory.mu is held.
func (l *link) queued() {
	if !l.changed {
		l.changed = true
		if soon := time.Now().Add(l.dir.opt.Compare); soon.Before(l.next) {
			l.next = soon
		}
	}
	if len(l.queue)-l.restating > maxQueue { // else a bucket with very many sessions would never be announced
		l.queue, l.restating = nil, 0
		l.checkAll()
	}
	wakeUp(l.wake)
}

// checkAll has all buckets compared. Directory.mu is held.
func (l *link) checkAll() {
	for b := range uint16(Buckets) {
		if l.mine(b) {
			l.check.add(b)
		}
	}
	wakeUp(l.wake)
}

// mine reports whether the other node keeps a bucket for this one. Directory.mu is
// held.
func (l *link) mine(bucket uint16) bool {
	keeper, ok := l.dir.homes.Keeper(bucket, l.dir.self.ID)
	return ok && keeper == l.to.ID
}

// busy reports whether there is something that the other node has not confirmed.
// Directory.mu is held.
func (l *link) busy() bool {
	return l.sending || l.bad || len(l.queue) > 0 || !l.check.empty() || !l.restate.empty() || !l.later.empty()
}

// run sends until ctx is done.
func (l *link) run(ctx context.Context) {
	for ctx.Err() == nil {
		body, wait := l.build()
		if body == nil {
			select {
			case <-l.wake:
			case <-l.retry:
			case <-l.urgent:
			case <-time.After(wait):
			case <-ctx.Done():
			}
			continue
		}
		asking, done := context.WithTimeout(ctx, l.dir.opt.AskTime)
		l.setAbort(done)
		answer, err := l.dir.control.Ask(asking, l.to.ID, kindAnnounce, body)
		l.setAbort(nil)
		done()
		select {
		case <-time.After(l.answered(answer, err)):
		case <-l.retry:
		case <-l.urgent:
			select {
			case <-time.After(openPause):
			case <-ctx.Done():
			}
		case <-ctx.Done():
		}
	}
}

func (l *link) setAbort(f context.CancelFunc) {
	l.dir.mu.Lock()
	defer l.dir.mu.Unlock()
	l.abort = f
}

// kick has all buckets compared at once: the other node is there, and may not have
// got what was sent before. Directory.mu is held.
func (l *link) kick() {
	l.checkAll()
	if l.abort != nil {
		l.abort()
	}
	wakeUp(l.retry)
}

// build returns the next body; nil if there is none for so long.
func (l *link) build() (body []byte, wait time.Duration) {
	d := l.dir
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if !now.Before(l.next) {
		l.next, l.changed = now.Add(quietCompare*d.opt.Compare), false
		l.checkAll()
	}
	d.number++
	body = appendHead(make([]byte, 0, 1024), d.self.Instance, d.number)
	empty := len(body)
	body = l.takeExpects(body)
	head := len(body)
	if len(l.queue) == 0 && !l.check.empty() {
		for b := range l.check.all {
			if l.mine(b) {
				body = appendCheck(body, b, d.store.lists[keyOf(0, b)])
			}
		}
		l.check = buckets{}
	}
	if len(body) == head {
		l.refill(broadcast.MaxControlBody - head)
		n := whole(l.queue, broadcast.MaxControlBody-head)
		body = append(body, l.queue[:n]...)
		l.queue, l.restating = l.queue[n:], max(l.restating-n, 0)
	}
	l.sending = len(body) > empty
	if !l.sending {
		l.queue, l.restating = nil, 0 // releases its memory
		return nil, l.next.Sub(now)
	}
	return body, 0
}

// refill puts buckets that are announced as a whole into the queue, until it has
// enough for one body. Directory.mu is held.
func (l *link) refill(enough int) {
	s := l.dir.store
	for b := range l.restate.all {
		if len(l.queue) >= enough {
			return
		}
		l.restate.del(b)
		if !l.mine(b) {
			continue
		}
		l.dir.stats.Restated++
		before := len(l.queue)
		l.queue = appendBucket(l.queue, itemReset, b)
		s.eachOf(0, b, func(e *entry) {
			l.queue = appendOpen(l.queue, s.uids.Get(e.uid), &e.key, e.opened(), s.classes[e.class], s.routes[e.route])
		})
		l.queue = appendCheck(l.queue, b, s.lists[keyOf(0, b)])
		l.restating += len(l.queue) - before
	}
}

// answered takes the answer to a body, and returns the pause before the next.
func (l *link) answered(answer []byte, err error) time.Duration {
	d := l.dir
	d.mu.Lock()
	defer d.mu.Unlock()
	l.sending, l.bad = false, err != nil
	if err != nil {
		d.stats.Failed++
		l.notExpected()
		l.checkAll()
		return retryPause
	}
	d.stats.Bodies++
	later := false
	var refused buckets
	for r := (reader{p: answer}); len(r.p) > 0; {
		op, b := r.u8(), r.u16()
		switch {
		case r.bad || b >= Buckets:
		case op == wantAll:
			l.restate.add(b)
		case op == wantLater:
			l.later.add(b)
			refused.add(b)
			later = true
		}
	}
	l.expectedNow(&refused)
	if later {
		time.AfterFunc(retryPause, l.tryLater)
	}
	if !l.restate.empty() || !l.check.empty() || len(l.queue) > broadcast.MaxControlBody/2 {
		return restatePause
	}
	return d.opt.Batch
}

// tryLater has buckets compared which the other node did not keep a little ago.
func (l *link) tryLater() {
	l.dir.mu.Lock()
	defer l.dir.mu.Unlock()
	l.check.addAll(&l.later)
	l.later = buckets{}
	wakeUp(l.wake)
}
