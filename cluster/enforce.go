package cluster

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"belfry/broadcast"
	"belfry/message"
)

// A tell of sessions beyond a cap has for each of them: a byte (1: it is the cap of its
// device class), length and bytes of the uid, key (18).

// enforce ends sessions beyond the caps, until ctx is done.
func (d *Directory) enforce(ctx context.Context) {
	for {
		tells, wait := d.decide(time.Now())
		for node, body := range tells {
			d.tell(node, body)
		}
		select {
		case <-d.caps.wake:
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// decide returns what holders are to be told, and when to decide again at the latest.
func (d *Directory) decide(now time.Time) (tells map[uint32][]byte, wait time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	c := &d.caps
	if d.store == nil {
		return nil, time.Hour
	}
	d.sweepBuckets()
	d.purgePlaces(now)
	tells = make(map[uint32][]byte)
	left := decideUsers
	for uid, at := range c.over {
		if now.Before(at) {
			continue
		}
		if d.decideUser([]byte(uid), tells) {
			c.over[uid] = now.Add(retellAfter)
		} else {
			delete(c.over, uid)
		}
		if left--; left == 0 {
			return tells, time.Millisecond
		}
	}
	switch {
	case !c.sweep.empty() && len(c.over) < maxOver/2:
		return tells, time.Millisecond
	case len(c.over) > 0 || !c.sweep.empty():
		return tells, capTick
	case len(c.places) > 0:
		return tells, placeTime
	}
	return tells, time.Hour
}

// rival is a session of a user who has too many.
type rival struct {
	*entry
	opened uint64
}

// decideUser adds to tells which sessions of a user exceed a cap, and reports whether
// some are to be closed yet. Sessions that their holders were told to close count for
// nothing: they are told of again. d.mu is held.
//
// Every node that knows the same sessions decides the same. One that knows fewer ends no
// other sessions than these: a session is ended because of others that go before it.
func (d *Directory) decideUser(uid []byte, tells map[uint32][]byte) (again bool) {
	s, c := d.store, &d.caps
	home := d.isHome(bucketOf(uid))
	var all []rival
	s.each(uid, func(e *entry) {
		e.setTold(e.told() && home) // else another home decides now
		all = append(all, rival{e, e.opened()})
	})
	if !home {
		return false
	}
	slices.SortFunc(all, func(a, b rival) int {
		order := cmp.Or(cmp.Compare(b.opened, a.opened), bytes.Compare(b.key[:], a.key[:])) // the newest first
		if c.RefuseNewest {
			return -order
		}
		return order
	})
	kept := 0
	var same [maxNames]int
	for _, r := range all {
		most := c.PerClass[s.classes[r.class]]
		byClass := most > 0 && same[r.class] >= most
		switch {
		case r.told():
		case byClass || c.PerUser > 0 && kept >= c.PerUser:
			r.setTold(true)
			d.stats.Evicted++
		default:
			kept++
			same[r.class]++
			continue
		}
		again = true
		node := d.nodeOf(r.holder)
		tells[node] = appendEviction(tells[node], byClass, uid, &r.key)
	}
	return again
}

// nodeOf returns the node with an index. d.mu is held.
func (d *Directory) nodeOf(index uint16) uint32 {
	for _, h := range d.holders {
		if h.index == index {
			return h.ID
		}
	}
	return d.self.ID
}

func appendEviction(dst []byte, byClass bool, uid []byte, key *message.SessionKey) []byte {
	cause := byte(0)
	if byClass {
		cause = 1
	}
	return append(appendBytes(append(dst, cause), uid), key[:]...)
}

// sweepBuckets looks at users of whole buckets, as many as there is room for and about
// sweepSessions sessions. d.mu is held.
func (d *Directory) sweepBuckets() {
	seen := 0
	for b := range d.caps.sweep.all {
		if seen >= sweepSessions || len(d.caps.over) >= maxOver/2 {
			return
		}
		d.caps.sweep.del(b)
		if !d.isHome(b) {
			continue
		}
		look := func(e *entry) {
			seen++
			if e.newer == 0 { // each user once
				d.look(d.store.uids.Get(e.uid))
			}
		}
		d.store.eachOf(0, b, look)
		for _, h := range d.holders {
			d.store.eachOf(h.index, b, look)
		}
	}
}

// tell tells a holder which sessions to close, in parts that a command can carry. What
// is lost is told again.
func (d *Directory) tell(node uint32, body []byte) {
	if node == d.self.ID {
		d.evict(body)
		return
	}
	for len(body) > 0 {
		n := len(body)
		for r := (reader{p: body}); len(r.p) > 0; {
			if end := len(body) - len(r.p); end > broadcast.MaxControlBody-512 {
				n = end
				break
			}
			r.u8()
			r.bytes()
			r.key()
		}
		_ = d.control.SendTo(node, kindEvict, body[:n])
		body = body[n:]
	}
}

// evictTold runs at the holder. Whoever says it, it is right: see decideUser.
func (d *Directory) evictTold(_ context.Context, _ broadcast.Peer, body []byte) ([]byte, error) {
	if !d.evict(body) {
		d.mu.Lock()
		d.stats.Malformed++
		d.mu.Unlock()
	}
	return nil, nil
}

// evict ends sessions of this node, as far as they are open. It returns false if the
// body is not valid from some place on.
func (d *Directory) evict(body []byte) bool {
	for r := (reader{p: body}); len(r.p) > 0; {
		byClass, uid, key := r.u8() != 0, r.bytes(), r.key()
		if r.bad || len(uid) == 0 {
			return false
		}
		d.mu.Lock()
		open := false
		if d.store != nil {
			_, open = d.store.find(uid, 0, &key)
		}
		d.mu.Unlock()
		if open && d.opt.Evict != nil {
			d.opt.Evict(key, byClass)
		}
	}
	return true
}
