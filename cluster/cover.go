package cluster

import (
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"belfry/broadcast"
)

// A push to a user reaches this node only if the user's home knows that the node has
// the user. So a session must not open before the home expects it, or its client would
// miss pushes for a moment. While homes may not know this node, the node overhears the
// relays of all nodes to all homes instead: then sessions need not wait.
//
// It overhears from its start until all homes have confirmed what it has, and from the
// moment when a home does not answer while sessions wait.

// cover knows whether sessions of this node may open.
type cover struct {
	free atomic.Bool   // relays are overheard: sessions need not wait
	wake chan struct{} // capacity 1: queue is not empty, or notices were refused

	mu    sync.Mutex // guards queue; held for an append
	queue []opening

	// Guarded by Directory.mu.
	overhears  bool      // it was asked for
	ending     bool      // it ends when cleanSince is long ago; sessions wait again
	cleanSince time.Time // since when all homes know what this node has; zero: some do not
	recent     []opening // the last ones, the oldest first: a new home has to expect them too
	moved      buckets   // their home has changed
	unnotified []opening // sessions whose shard had no room for the notice
}

// opening is a session that is about to open.
type opening struct {
	uid    string
	bucket uint16
	waiter broadcast.Waiter // nil: it does not wait any more
	token  uint64
	at     time.Time
}

const (
	settleTime   = 2 * time.Second  // within which nodes that hear each other know what each other has
	expectFor    = 20 * time.Second // for which a home expects a session: longer than it takes to open and be announced
	maxExpected  = 1 << 17          // sessions that a home expects
	maxRecent    = 1 << 16          // sessions that a new home is told to expect
	repeatNotice = 10 * time.Millisecond
)

func (c *cover) init(overhears bool) {
	c.wake = make(chan struct{}, 1)
	c.overhears = overhears
}

// JoinUser says that a session of a user is about to open. It returns true if pushes to
// the user reach this node; otherwise w.UserReady(token) is called once, when they do.
// Shards call it: it does not block.
func (d *Directory) JoinUser(uid []byte, w broadcast.Waiter, token uint64) (ready bool) {
	c := &d.cover
	if c.free.Load() {
		return true
	}
	bucket := bucketOf(uid)
	v := d.view.Load()
	if home, ok := v.homes.Home(bucket); !ok || home == d.self.ID {
		return true
	}
	c.again(opening{uid: string(uid), bucket: bucket, waiter: w, token: token})
	return false
}

// again queues a session.
func (c *cover) again(o opening) {
	c.mu.Lock()
	c.queue = append(c.queue, o)
	c.mu.Unlock()
	wakeUp(c.wake)
}

// Lost implements broadcast.Router. Homes that this node does not reach cannot know what
// it has.
func (d *Directory) Lost() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.overhear("no connection to NATS")
}

// Overhears implements broadcast.Router.
func (d *Directory) Overhears() {
	d.mu.Lock()
	if d.cover.overhears && !d.cover.ending {
		d.cover.free.Store(true)
	}
	d.mu.Unlock()
	wakeUp(d.cover.wake)
}

// overhear begins to overhear. d.mu is held.
func (d *Directory) overhear(why string) {
	c := &d.cover
	c.cleanSince = time.Time{}
	d.touch()
	switch {
	case d.opt.Overhear == nil:
	case !c.overhears:
		c.overhears = true
		d.stats.Overheard++
		d.opt.Log.Info("this node takes the pushes to all users: homes do not know its sessions", zap.String("why", why))
		d.opt.Overhear(true)
	case c.ending: // it has not ended yet
		c.ending = false
		c.free.Store(true)
		wakeUp(c.wake)
	}
}

// expect has the homes expect the sessions that are queued, and lets those open that
// need not wait.
func (d *Directory) expect() {
	c := &d.cover
	c.mu.Lock()
	queue := c.queue
	c.queue = nil
	c.mu.Unlock()
	d.mu.Lock()
	ready := c.unnotified
	c.unnotified = nil
	d.touch() // recent is looked after
	now := time.Now()
	for _, o := range queue {
		if o.at.IsZero() {
			o.at = now
			c.recent = append(c.recent, opening{uid: o.uid, bucket: o.bucket, at: now})
		}
		home, ok := d.homes.Home(o.bucket)
		l := d.out[home]
		switch {
		case !ok || home == d.self.ID || c.free.Load():
			ready = append(ready, o)
		case l == nil:
			d.overhear("a home is not known yet")
			time.AfterFunc(retryPause, func() { c.again(o) })
		default:
			if l.bad {
				d.overhear("node " + l.to.Name + " does not answer")
			}
			l.expects = append(l.expects, o)
			wakeUp(l.urgent)
		}
	}
	if c.free.Load() {
		for _, l := range d.out {
			ready = append(append(ready, l.expects...), l.asked...)
			l.expects, l.asked = nil, nil
		}
	}
	d.mu.Unlock()
	d.notify(ready)
}

// notify lets sessions open. Those whose shard has no room are notified again.
func (d *Directory) notify(ready []opening) {
	var again []opening
	for _, o := range ready {
		if o.waiter != nil && !o.waiter.UserReady(o.token) {
			again = append(again, o)
		}
	}
	if len(again) == 0 {
		return
	}
	d.mu.Lock()
	d.cover.unnotified = append(d.cover.unnotified, again...)
	d.mu.Unlock()
	time.AfterFunc(repeatNotice, func() { wakeUp(d.cover.wake) })
}

// takeExpects appends sessions that are about to open to a body. Directory.mu is held.
func (l *link) takeExpects(body []byte) []byte {
	n := 0
	for ; n < len(l.expects) && len(body)+2+len(l.expects[n].uid) <= broadcast.MaxControlBody/2; n++ {
		body = appendExpect(body, l.expects[n].uid)
	}
	l.asked = append(l.asked, l.expects[:n]...)
	if l.expects = l.expects[n:]; len(l.expects) == 0 {
		l.expects = nil
	} else {
		wakeUp(l.urgent)
	}
	l.dir.stats.Expected += uint64(n)
	return body
}

// notExpected is called when the home did not answer. Directory.mu is held.
func (l *link) notExpected() {
	if len(l.asked)+len(l.expects) > 0 {
		l.dir.overhear("node " + l.to.Name + " does not answer")
	}
	l.expects = append(l.asked, l.expects...)
	l.asked = nil
}

// expectedNow lets the sessions open that the home expects now, but for those of buckets
// of which it says that it is not the home. Directory.mu is held.
func (l *link) expectedNow(refused *buckets) {
	var ready []opening
	for _, o := range l.asked {
		home, ok := l.dir.homes.Home(o.bucket)
		switch {
		case refused.has(o.bucket) && home == l.to.ID:
			time.AfterFunc(retryPause, func() { l.dir.cover.again(o) })
		case ok && home != l.to.ID && home != l.dir.self.ID: // it has moved meanwhile
			l.dir.cover.again(o)
		default:
			ready = append(ready, o)
		}
	}
	if l.asked = nil; len(ready) > 0 {
		go l.dir.notify(ready) // without the lock
	}
}

// expectAgain has the new homes of buckets that moved expect the sessions that may not
// have opened yet. d.mu is held.
func (d *Directory) expectAgain() {
	c := &d.cover
	for _, o := range c.recent {
		if c.moved.has(o.bucket) {
			c.again(o)
		}
	}
	c.moved = buckets{}
}

// watchCover looks whether this node has to overhear relays. It returns whether it has to
// look again.
func (d *Directory) watchCover(now time.Time) (covering bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.cover
	n := 0
	for n < len(c.recent) && (now.Sub(c.recent[n].at) > expectFor || len(c.recent)-n > maxRecent) {
		n++
	}
	if c.recent = c.recent[n:]; len(c.recent) == 0 {
		c.recent = nil
	}
	if !c.overhears || d.opt.Overhear == nil {
		return c.recent != nil
	}
	switch {
	case !d.clean():
		c.cleanSince = time.Time{}
		if c.ending { // the sessions that opened meanwhile were expected
			c.ending = false
			c.free.Store(true)
			wakeUp(c.wake)
		}
	case c.cleanSince.IsZero():
		c.cleanSince = now
	case !c.ending && now.Sub(c.cleanSince) >= settleTime:
		c.ending, c.cleanSince = true, now
		c.free.Store(false)
	case c.ending && now.Sub(c.cleanSince) >= settleTime:
		c.ending, c.overhears = false, false
		d.opt.Log.Info("homes know the sessions of this node: it takes only the pushes to its own users")
		d.opt.Overhear(false)
	}
	return true
}

// clean reports whether the homes know what this node has, but for the last changes.
// d.mu is held.
func (d *Directory) clean() bool {
	if d.stats.Untold > 0 {
		return false
	}
	for id := range d.holders {
		l := d.out[id]
		if l.bad || !l.check.empty() || !l.restate.empty() || !l.later.empty() {
			return false
		}
	}
	return true
}
