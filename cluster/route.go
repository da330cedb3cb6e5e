package cluster

import (
	"slices"
	"time"
)

// The Directory is the broadcast.Router of its node: it says where pushes to users go.

// view is what Home needs. It never changes.
type view struct {
	homes  *Homes
	routes bool      // there are other nodes, and all of them know relays
	whole  time.Time // when all nodes were there, or those that are not have been away for directFor
}

// lostFor is how long pushes are still sent to a node that is gone without having left:
// perhaps only its beacons do not arrive. If it does not exist any more, NATS drops them.
const lostFor = 10 * time.Minute

// directFor is how long all pushes go to all nodes after a node was gone without having
// left. Such a node answers no fence: what homes pass on to it would come, when it is
// there again, in another order than what publishing nodes send. On one path it comes in
// order. A node that is away for longer may lose pushes that come behind later ones.
const directFor = time.Minute

// renewView takes the members into account. d.mu is held.
func (d *Directory) renewView(members []Member) {
	v := &view{homes: d.homes, routes: len(d.holders) > 0}
	for _, m := range members {
		if m.State != Gone && !m.Routes {
			v.routes = false
		}
	}
	for _, since := range d.lost {
		if whole := since.Add(directFor); whole.After(v.whole) {
			v.whole = whole
		}
	}
	d.view.Store(v)
}

// Home implements broadcast.Router.
func (d *Directory) Home(bucket uint16) (node uint32, ok bool) {
	v := d.view.Load()
	if !v.routes || !v.whole.IsZero() && time.Now().Before(v.whole) {
		return 0, false
	}
	return v.homes.Home(bucket)
}

// Holders implements broadcast.Router.
func (d *Directory) Holders(dst []uint32, bucket uint16, uids []string) (nodes []uint32, all bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if home, ok := d.homes.Home(bucket); !ok || home != d.self.ID || d.store == nil || time.Now().Before(d.unsure) {
		return dst, true
	}
	for _, h := range d.holders {
		if !h.confirmed.has(bucket) {
			return dst, true
		}
	}
	add := func(node uint32) {
		if node != 0 && !slices.Contains(dst, node) {
			dst = append(dst, node)
		}
	}
	for _, uid := range uids {
		d.store.each([]byte(uid), func(e *entry) { add(d.ids[e.holder]) })
		for _, node := range d.expected.nodes[uid] {
			add(node)
		}
	}
	for node := range d.lost {
		add(node)
	}
	return dst, false
}

// Verify implements broadcast.Router: every holder has to compare all buckets. Until then
// pushes go to all nodes.
func (d *Directory) Verify() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if now.Sub(d.verified) < settleTime {
		return
	}
	d.verified = now
	d.touch()
	for _, h := range d.holders {
		h.confirmed, h.count = buckets{}, 0
		h.since = now.Add(-checkEvery) // asked at the next tick
	}
}

// expected has the sessions of other nodes that are about to open: a home sends pushes
// to their nodes, too. It forgets them after expectFor; by then they are announced.
type expected struct {
	nodes map[string][]uint32 // by uid
	queue []expectation       // the oldest first
}

type expectation struct {
	uid   string
	node  uint32
	until time.Time
}

func newExpected() expected { return expected{nodes: make(map[string][]uint32)} }

// add reports whether there is room.
func (e *expected) add(uid string, node uint32, now time.Time) bool {
	if len(e.queue) >= maxExpected {
		return false
	}
	e.nodes[uid] = append(e.nodes[uid], node) // once for each expectation
	e.queue = append(e.queue, expectation{uid, node, now.Add(expectFor)})
	return true
}

func (e *expected) sweep(now time.Time) {
	n := 0
	for ; n < len(e.queue) && !now.Before(e.queue[n].until); n++ {
		x := e.queue[n]
		nodes := e.nodes[x.uid]
		i := slices.Index(nodes, x.node)
		if nodes = slices.Delete(nodes, i, i+1); len(nodes) == 0 {
			delete(e.nodes, x.uid)
		} else {
			e.nodes[x.uid] = nodes
		}
	}
	if e.queue = e.queue[n:]; len(e.queue) == 0 {
		e.queue = nil
	}
}
