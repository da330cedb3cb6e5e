package cluster

import (
	"slices"
	"time"
)

// Users is told which users are online in the cluster: by each node for the users whose
// home it is. Its methods are called by Directory.Run, without a lock, and must not block.
//
// Changes are collected for Options.Batch. Offline and List wait until the home knows the
// bucket completely, and at the start of a node until it should have heard of the others:
// 2 s, or a lease if it hears of none. Nobody is told of what happens while a bucket
// moves to another home; List makes up for it.
type Users interface {
	// Online says that the first session of a user has opened, Offline that the last
	// one has ended. Online may come again for a user who is online.
	Online(uid string)
	Offline(uid string)
	// List has all users of a bucket that are online, in no order. It comes when the
	// bucket has got a new home, and every Options.List. It may keep uids.
	List(bucket uint16, uids []string)
}

// online notices which users have come and gone. Guarded by Directory.mu.
type online struct {
	dir     *Directory
	touched map[string]bool // users whose first session opened or whose last one ended: whether they were online before
	due     buckets         // new here: to be listed as soon as they are known completely
	next    uint16          // bucket that is listed next in turn
	listed  time.Time       // when the turn went on last
	begun   time.Time
}

const (
	// maxTouched limits the users in online.touched; the buckets of further ones are
	// listed.
	maxTouched = 1 << 16
	// maxLists is how many buckets are listed after one Batch, so that a new home floods
	// nobody.
	maxLists = 64
)

// begin has changes noticed. Directory.mu is held.
func (o *online) begin(d *Directory, now time.Time) {
	o.dir, o.touched = d, make(map[string]bool)
	o.listed, o.begun = now, now
	d.store.edge = o.edge
	for b := range uint16(Buckets) {
		o.due.add(b) // sessions may be there already
	}
}

// edge is called when the first session of a user was entered, or the last one was
// taken out. Directory.mu is held.
func (o *online) edge(uid []byte, online bool) {
	b := bucketOf(uid)
	if !o.home(b) {
		return
	}
	if _, ok := o.touched[string(uid)]; ok {
		return
	}
	if len(o.touched) >= maxTouched {
		o.due.add(b)
		return
	}
	o.touched[string(uid)] = !online
}

// home reports whether this node is the home of a bucket. Directory.mu is held.
func (o *online) home(bucket uint16) bool {
	home, ok := o.dir.homes.Home(bucket)
	return ok && home == o.dir.self.ID
}

// complete reports whether this node is the home of a bucket and knows all of it.
// Directory.mu is held.
func (o *online) complete(bucket uint16, now time.Time) bool {
	if !o.home(bucket) || now.Sub(o.begun) < o.settle() {
		return false
	}
	for _, h := range o.dir.holders {
		if !h.confirmed.has(bucket) {
			return false
		}
	}
	return true
}

// settle is the time after the start in which this node may not have heard of all
// others. Nodes that hear of another one answer with a beacon at once; a node that has
// heard of nobody waits for a lease. Directory.mu is held.
func (o *online) settle() time.Duration {
	lease := o.dir.control.Lease()
	if len(o.dir.holders) > 0 {
		return min(lease, 2*time.Second)
	}
	return lease
}

// moved has buckets listed that have come to this node. Directory.mu is held.
func (o *online) moved(old *Homes) {
	for b := range uint16(Buckets) {
		if was, ok := old.Home(b); o.home(b) && (!ok || was != o.dir.self.ID) {
			o.due.add(b)
		}
	}
}

// news is what Users is told.
type news struct {
	online, offline []string
	lists           map[uint16][]string
}

// take returns what is to be told now. Directory.mu is held.
func (o *online) take(now time.Time) (n news) {
	for uid, was := range o.touched {
		b := bucketOf([]byte(uid))
		_, is := o.dir.store.first(o.dir.store.hash([]byte(uid)), []byte(uid))
		switch {
		case !o.home(b), is == was: // or the new home lists it
		case is:
			n.online = append(n.online, uid)
		case o.complete(b, now):
			n.offline = append(n.offline, uid)
		default:
			continue // it may have sessions that are not known
		}
		delete(o.touched, uid)
	}
	n.lists = make(map[uint16][]string)
	for b := range o.due.all {
		switch {
		case len(n.lists) == maxLists:
		case !o.home(b):
			o.due.del(b)
		case o.complete(b, now):
			o.due.del(b)
			n.lists[b] = o.list(b)
		}
	}
	o.turn(&n, now)
	return n
}

// turn lists the buckets whose turn it is. Directory.mu is held.
func (o *online) turn(n *news, now time.Time) {
	each := o.dir.opt.List / Buckets
	if now.Sub(o.listed) > o.dir.opt.List {
		o.listed = now.Add(-o.dir.opt.List) // the process did not run; nothing is listed twice
	}
	for ; now.Sub(o.listed) >= each; o.listed = o.listed.Add(each) {
		if b := o.next; n.lists[b] == nil && o.complete(b, now) {
			o.due.del(b)
			n.lists[b] = o.list(b)
		}
		o.next = (o.next + 1) % Buckets
	}
}

// list returns the users of a bucket. Directory.mu is held.
func (o *online) list(bucket uint16) []string {
	s := o.dir.store
	uids := []string{}
	seen := make(map[string]bool)
	add := func(e *entry) {
		if uid := s.uids.Get(e.uid); !seen[string(uid)] {
			seen[string(uid)] = true
			uids = append(uids, string(uid))
		}
	}
	s.eachOf(0, bucket, add)
	for _, h := range o.dir.holders {
		s.eachOf(h.index, bucket, add)
	}
	return uids
}

// tellUsers tells Options.Users what has happened.
func (d *Directory) tellUsers(now time.Time) {
	d.mu.Lock()
	if d.store == nil {
		d.mu.Unlock()
		return
	}
	n := d.online.take(now)
	d.mu.Unlock()
	for _, uid := range n.online {
		d.opt.Users.Online(uid)
	}
	for _, uid := range n.offline {
		d.opt.Users.Offline(uid)
	}
	var order []uint16
	for b := range n.lists {
		order = append(order, b)
	}
	slices.Sort(order)
	for _, b := range order {
		d.opt.Users.List(b, n.lists[b])
	}
}
