package cluster

import (
	"context"
	"slices"
	"time"

	"belfry/broadcast"
)

// holder is another node whose sessions this one keeps. Guarded by Directory.mu.
type holder struct {
	Member
	index     uint16 // in store.lists
	number    uint64 // of its last body
	needed    int    // buckets that this node keeps for it
	confirmed buckets
	count     int       // buckets in confirmed
	since     time.Time // since when some are not confirmed; zero: none, or not noticed yet
}

// pending returns how many buckets are not known completely.
func (h *holder) pending() int { return h.needed - h.count }

func (h *holder) confirm(b uint16) {
	if !h.confirmed.has(b) {
		h.confirmed.add(b)
		h.count++
	}
}

// doubt is the reverse of confirm.
func (h *holder) doubt(b uint16) {
	if h.confirmed.has(b) {
		h.confirmed.del(b)
		h.count--
	}
}

// GoneSession is a session of a node that is gone.
type GoneSession struct {
	UID     string
	Session Session
}

// goneBatch limits the sessions in one call of OnGone.
const goneBatch = 1024

// OnGone has f called with the sessions of a node that is gone, or was restarted, as
// far as this node kept them: all nodes together keep each session once, except for
// those that were not announced yet. A node that left and said so is not told of: it
// has ended its sessions itself. A node that was only silent may come back, so f must
// expect sessions to come again. f may wait; it delays the directory meanwhile.
func (d *Directory) OnGone(f func(node Member, sessions []GoneSession)) {
	d.onGone = append(d.onGone, f)
}

// lost is what was known of a node that is gone.
type lost struct {
	node     Member
	sessions []GoneSession
}

// gone tells the watchers.
func (d *Directory) gone(all []lost) {
	for _, l := range all {
		for batch := range slices.Chunk(l.sessions, goneBatch) {
			for _, f := range d.onGone {
				f(l.node, batch)
			}
		}
	}
}

// rehome takes the changes of the members into account. It returns what is lost, and
// the nodes that are back.
func (d *Directory) rehome() (gone []lost, back []broadcast.Peer) {
	view := d.opt.Members.View()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store == nil {
		return nil, nil
	}
	for _, c := range d.changes {
		if c.Back {
			back = append(back, c.Peer)
		}
		if l := d.member(c); len(l.sessions) > 0 {
			gone = append(gone, l)
		}
	}
	d.changes = nil
	var ids []uint32
	for _, m := range view {
		if m.State.home() {
			ids = append(ids, m.ID)
		}
	}
	slices.Sort(ids)
	defer d.renewView(view)
	if !slices.Equal(ids, d.homes.ids) {
		old := d.homes
		d.homes = NewHomes(ids)
		d.moved(old)
		if d.online.dir != nil {
			d.online.moved(old)
		}
	}
	d.recount()
	d.touch()
	return gone, back
}

// member takes one change into account. d.mu is held.
func (d *Directory) member(c Change) (l lost) {
	if h := d.holders[c.ID]; h != nil && (c.State == Gone || c.Restarted) {
		l = lost{h.Member, d.forget(h, !c.Left)}
	}
	delete(d.lost, c.ID)
	if c.State == Gone {
		if !c.Left {
			d.lost[c.ID] = time.Now()
		}
		return l
	}
	h := d.holders[c.ID]
	if h == nil {
		h = &holder{index: d.index()}
		d.ids[h.index] = c.ID
		d.holders[c.ID] = h
		d.connect(c.Member)
	}
	h.Member = c.Member
	return l
}

// index returns an index that no holder has. d.mu is held.
func (d *Directory) index() uint16 {
	if n := len(d.free); n > 0 {
		i := d.free[n-1]
		d.free = d.free[:n-1]
		return i
	}
	d.indexes++
	d.ids = append(d.ids, 0)
	return d.indexes - 1
}

// connect makes the link to a node. d.mu is held.
func (d *Directory) connect(m Member) {
	ctx, cancel := context.WithCancel(d.ctx)
	l := &link{dir: d, to: m.Peer, wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1), retry: make(chan struct{}, 1), cancel: cancel}
	d.out[m.ID] = l
	d.links.Go(func() { l.run(ctx) })
	if d.caps.asks() {
		l.places.wake = make(chan struct{}, 1)
		d.links.Go(func() { l.runPlaces(ctx) })
	}
	d.present.Add(1)
}

// kick compares all buckets with a node that is there again.
func (d *Directory) kick(node uint32) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.out[node]; l != nil {
		l.kick()
	}
}

// forget drops a holder and returns what it had, if that is wanted. d.mu is held.
func (d *Directory) forget(h *holder, wanted bool) (had []GoneSession) {
	s := d.store
	for b := range uint16(Buckets) {
		if wanted {
			d.stats.Gone += uint64(s.lists[keyOf(h.index, b)].count)
		}
		if wanted && len(d.onGone) > 0 {
			s.eachOf(h.index, b, func(e *entry) {
				had = append(had, GoneSession{string(s.uids.Get(e.uid)), s.session(e)})
			})
		}
		s.drop(h.index, b)
	}
	for _, o := range append(d.out[h.ID].asked, d.out[h.ID].expects...) {
		d.cover.again(o)
	}
	delete(d.holders, h.ID)
	d.free = append(d.free, h.index)
	d.present.Add(-1)
	d.out[h.ID].cancel()
	delete(d.out, h.ID)
	return had
}

// session returns what others are told of an entry.
func (s *store) session(e *entry) Session {
	return Session{Key: e.key, Since: time.UnixMilli(int64(e.opened())), Class: s.classes[e.class], Route: s.routes[e.route]}
}

// moved compares the buckets whose keeper is another one than before, and drops what
// this node keeps no more. d.mu is held.
func (d *Directory) moved(old *Homes) {
	d.caps.moved(old, d.homes, d.self.ID)
	for b := range uint16(Buckets) {
		was, _ := old.Keeper(b, d.self.ID)
		home, _ := d.homes.Home(b)
		if before, _ := old.Home(b); home != before {
			d.cover.moved.add(b)
		}
		if keeper, ok := d.homes.Keeper(b, d.self.ID); ok && keeper != was && d.out[keeper] != nil {
			d.out[keeper].check.add(b)
			wakeUp(d.out[keeper].wake)
		}
		for _, h := range d.holders {
			if !d.keeps(b, h) {
				h.doubt(b)
				d.store.drop(h.index, b)
			}
		}
	}
	d.expectAgain()
}

// keeps reports whether this node keeps a bucket for a holder. d.mu is held.
func (d *Directory) keeps(bucket uint16, h *holder) bool {
	keeper, ok := d.homes.Keeper(bucket, h.ID)
	return ok && keeper == d.self.ID
}

// recount counts the buckets that this node keeps for each holder. d.mu is held.
func (d *Directory) recount() {
	all, second := 0, make(map[uint32]int)
	for b := range uint16(Buckets) {
		home, ok := d.homes.Home(b)
		if !ok {
			continue
		}
		if home == d.self.ID {
			all++
		} else if keeper, ok := d.homes.Keeper(b, home); ok && keeper == d.self.ID {
			second[home]++
		}
	}
	now := time.Now()
	for id, h := range d.holders {
		h.needed = all + second[id]
		if h.pending() > 0 && h.since.IsZero() {
			h.since = now
		}
	}
}

// lookAfter asks holders to compare whose buckets have not been known completely for a
// while. It returns whether it has to look again.
func (d *Directory) lookAfter(now time.Time) (pending bool) {
	var ask []broadcast.Peer
	d.mu.Lock()
	d.unseen = false
	if d.store != nil {
		d.store.trim()
	}
	d.expected.sweep(now)
	for node, since := range d.lost {
		if now.Sub(since) > lostFor {
			delete(d.lost, node)
		}
	}
	pending = len(d.lost) > 0 || len(d.expected.queue) > 0
	full := d.store != nil && d.store.entries.Len() == d.opt.MaxSessions
	for _, h := range d.holders {
		switch {
		case h.pending() == 0 || full:
			h.since = time.Time{}
			continue
		case h.since.IsZero():
			h.since = now
		case now.Sub(h.since) >= checkEvery:
			h.since = now
			ask = append(ask, h.Peer)
		}
		pending = true
	}
	d.mu.Unlock()
	d.askToCompare(ask)
	return pending
}

// askToCompare asks holders to compare all buckets. If a question is lost, lookAfter
// asks again.
func (d *Directory) askToCompare(holders []broadcast.Peer) {
	for _, p := range holders {
		_ = d.control.SendTo(p.ID, kindCompare, nil)
	}
}

// compare runs when a keeper does not know all of what this node has.
func (d *Directory) compare(_ context.Context, from broadcast.Peer, _ []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if l := d.out[from.ID]; l != nil && l.restate.empty() && l.later.empty() {
		l.checkAll()
	}
	return nil, nil
}

// announced takes the items of a holder.
func (d *Directory) announced(_ context.Context, from broadcast.Peer, body []byte) ([]byte, error) {
	r := reader{p: body}
	instance, number := r.head()
	d.mu.Lock()
	defer d.mu.Unlock()
	h := d.holders[from.ID]
	switch {
	case d.store == nil:
		return nil, errClosed
	case r.bad:
		d.stats.Malformed++
		return nil, errBody
	case h == nil || h.Instance != instance:
		return nil, errUnknown
	case number <= h.number:
		return nil, nil // a copy, or late: what came after it holds
	}
	h.number = number
	d.touch()
	var later buckets
	var answer []byte
	for len(r.p) > 0 {
		it := r.item()
		if r.bad {
			d.stats.Malformed++
			return nil, errBody
		}
		if !d.keeps(it.bucket, h) {
			if !later.has(it.bucket) {
				later.add(it.bucket)
				answer = appendBucket(answer, wantLater, it.bucket)
			}
			continue
		}
		if d.apply(h, &it) {
			answer = appendBucket(answer, wantAll, it.bucket)
		}
	}
	return answer, nil
}

// apply takes one item, and reports whether the bucket differs. d.mu is held.
func (d *Directory) apply(h *holder, it *item) (differs bool) {
	s := d.store
	switch it.op {
	case itemOpen:
		if !d.enter(h.ID, h.index, it.uid, &it.key, it.since, it.class, it.route) {
			h.doubt(it.bucket)
		}
	case itemExpect:
		if !d.expected.add(string(it.uid), h.ID, time.Now()) {
			d.stats.Refused++
			d.unsure = time.Now().Add(expectFor) // until there is room again
		}
	case itemClose:
		s.remove(it.uid, h.index, &it.key)
	case itemReset:
		s.drop(h.index, it.bucket)
	case itemCheck:
		if l := s.lists[keyOf(h.index, it.bucket)]; l.count == it.count && l.sum == it.sum {
			h.confirm(it.bucket)
			return false
		}
		h.doubt(it.bucket)
		return s.entries.Len() < d.opt.MaxSessions // otherwise asking again is useless
	}
	return false
}
