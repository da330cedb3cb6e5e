package cluster

import (
	"context"
	"time"

	"belfry/broadcast"
)

// Place is the answer to a request for a place.
type Place uint8

const (
	PlaceFree      Place = iota
	PlaceFullUser        // the user has Caps.PerUser sessions
	PlaceFullClass       // the user has Caps.PerClass sessions of the device class
)

// place is given to a node for one session of a user.
type place struct {
	node  uint32
	class uint8 // index in store.classes
	until time.Time
}

const (
	// placeTime is how long a place is kept for a session that does not open.
	placeTime = 5 * time.Second
	// placeWait is how long the answer of a home is awaited.
	placeWait = time.Second
	// maxPlaces limits the places that a home has given and no session has taken. Beyond
	// it sessions are admitted, and PlacesUnsure counts them.
	maxPlaces = 1 << 16
	// maxPlaceAsks limits the requests in one question, which fit into a command then.
	maxPlaceAsks = 400
)

// Answers of a home to a request, a byte each.
const (
	placeUnanswered = 0 // there is no answer

	placeYes     = 'y'
	placeUnsure  = 'i' // yes, as far as it knows
	placeNoUser  = 'u'
	placeNoClass = 'c'
	placeNotHome = '?' // this node is not the home, as far as it knows
)

// request is a request for a place.
type request struct {
	uid, class string
	until      time.Time
	refused    Place // the answer to it before; PlaceFree: none
	done       func(Place)
}

// placeQueue are the requests for places that wait for a node. Guarded by Directory.mu,
// but for wake.
type placeQueue struct {
	waiting []*request
	wake    chan struct{} // capacity 1
}

// Reserve asks the home of a user for a place for one more session, if Caps.RefuseNewest
// is set. done is called once, without a lock, within about a second: with PlaceFree
// also if the home does not answer. The place is taken by the next session of the user
// and the class that opens on this node, or is free again after some seconds.
func (d *Directory) Reserve(uid, class string, done func(Place)) {
	d.reserve(&request{uid: uid, class: class[:min(len(class), maxClass)], until: time.Now().Add(placeWait), done: done})
}

func (d *Directory) reserve(r *request) {
	d.mu.Lock()
	home, ok := d.homes.Home(broadcast.UserBucket(r.uid))
	l := d.out[home]
	switch {
	case d.store == nil || d.ctx == nil || d.ctx.Err() != nil || !d.caps.asks() || !ok || !time.Now().Before(r.until):
	case home == d.self.ID:
		answer := d.give(d.self.ID, r.uid, r.class)
		d.mu.Unlock()
		d.placed(r, answer)
		return
	case l != nil:
		l.places.waiting = append(l.places.waiting, r)
		d.mu.Unlock()
		wakeUp(l.places.wake)
		return
	}
	d.mu.Unlock()
	d.placed(r, placeUnanswered)
}

// placed takes the answer to a request. One that is refused is asked for once more a
// little later: a session that has just been closed on another node may still count.
func (d *Directory) placed(r *request, answer byte) {
	full := PlaceFree
	switch answer {
	case placeNoUser:
		full = PlaceFullUser
	case placeNoClass:
		full = PlaceFullClass
	case placeNotHome:
		time.AfterFunc(retryPause, func() { d.reserve(r) })
		return
	case placeUnanswered:
		full = r.refused
	}
	if full != PlaceFree && r.refused == PlaceFree && time.Until(r.until) > d.settle() {
		r.refused = full
		time.AfterFunc(d.settle(), func() { d.reserve(r) })
		return
	}
	d.mu.Lock()
	switch {
	case full != PlaceFree:
		d.stats.PlacesFull++
	case answer == placeYes:
		d.stats.PlacesFree++
	default:
		d.stats.PlacesUnsure++
	}
	d.mu.Unlock()
	r.done(full)
}

// give gives a node a place for a session of a user. d.mu is held.
func (d *Directory) give(node uint32, uid, class string) (answer byte) {
	s, c, bucket := d.store, &d.caps, broadcast.UserBucket(uid)
	if !d.isHome(bucket) {
		return placeNotHome
	}
	now, number, name := time.Now(), s.classes.enter([]byte(class)), []byte(uid)
	all, same := 0, 0
	count := func(of uint8) {
		if all++; of == number {
			same++
		}
	}
	s.each(name, func(e *entry) {
		if !e.told() {
			count(e.class)
		}
	})
	for _, p := range c.places[uid] {
		if now.Before(p.until) {
			count(p.class)
		}
	}
	switch most := c.PerClass[class]; {
	case most > 0 && same >= most:
		return placeNoClass
	case c.PerUser > 0 && all >= c.PerUser:
		return placeNoUser
	case c.given >= maxPlaces:
		return placeUnsure
	}
	c.places[uid] = append(c.places[uid], place{node, number, now.Add(placeTime)})
	if c.given++; c.given == 1 {
		wakeUp(c.wake)
	}
	for _, h := range d.holders {
		if !h.confirmed.has(bucket) {
			return placeUnsure
		}
	}
	return placeYes
}

// takePlace is called when a session of a node has opened. d.mu is held.
func (d *Directory) takePlace(node uint32, uid []byte, class uint8) {
	c := &d.caps
	list := c.places[string(uid)]
	for i, p := range list {
		if p.node == node && p.class == class {
			c.setPlaces(string(uid), append(list[:i], list[i+1:]...))
			c.given--
			return
		}
	}
}

func (c *caps) setPlaces(uid string, list []place) {
	if len(list) == 0 {
		delete(c.places, uid)
		return
	}
	c.places[uid] = list
}

// purgePlaces forgets the places that no session has taken. d.mu is held.
func (d *Directory) purgePlaces(now time.Time) {
	c := &d.caps
	if len(c.places) == 0 || now.Sub(c.purged) < placeTime/2 {
		return
	}
	c.purged = now
	for uid, list := range c.places {
		kept := list[:0]
		for _, p := range list {
			if now.Before(p.until) {
				kept = append(kept, p)
			}
		}
		c.given -= len(list) - len(kept)
		c.setPlaces(uid, kept)
	}
}

// A question for places is length and bytes of the uid, length and bytes of the class,
// for each. Its answer is a byte for each.

// placesAsked answers the questions of other nodes.
func (d *Directory) placesAsked(_ context.Context, from broadcast.Peer, body []byte) ([]byte, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store == nil {
		return nil, errClosed
	}
	var answer []byte
	for r := (reader{p: body}); len(r.p) > 0; {
		uid, class := string(r.bytes()), string(r.bytes())
		if r.bad || uid == "" || len(class) > maxClass {
			d.stats.Malformed++
			return nil, errBody
		}
		answer = append(answer, d.give(from.ID, uid, class))
	}
	return answer, nil
}

// runPlaces asks the other node for places until ctx is done: one question at a time,
// with what waits.
func (l *link) runPlaces(ctx context.Context) {
	for {
		select {
		case <-l.places.wake:
		case <-ctx.Done():
			for _, r := range l.takePlaces(-1) {
				l.dir.reserve(r) // of the next home, or nobody
			}
			return
		}
		for batch := l.takePlaces(maxPlaceAsks); len(batch) > 0; batch = l.takePlaces(maxPlaceAsks) {
			l.askPlaces(ctx, batch)
		}
	}
}

// takePlaces takes the oldest requests, all for -1.
func (l *link) takePlaces(most int) (batch []*request) {
	l.dir.mu.Lock()
	defer l.dir.mu.Unlock()
	q := &l.places
	if most < 0 || len(q.waiting) <= most {
		batch, q.waiting = q.waiting, nil
		return batch
	}
	batch, q.waiting = q.waiting[:most:most], q.waiting[most:]
	return batch
}

// askPlaces asks for the places of a batch.
func (l *link) askPlaces(ctx context.Context, batch []*request) {
	var body []byte
	for _, r := range batch {
		body = appendBytes(appendBytes(body, r.uid), r.class)
	}
	asking, done := context.WithDeadline(ctx, batch[0].until)
	defer done()
	answer, err := l.dir.control.Ask(asking, l.to.ID, kindPlace, body)
	for i, r := range batch {
		switch {
		case ctx.Err() != nil:
			l.dir.reserve(r)
		case err != nil || i >= len(answer):
			l.dir.placed(r, placeUnanswered)
		default:
			l.dir.placed(r, answer[i])
		}
	}
}
