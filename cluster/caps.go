package cluster

import (
	"time"

	"belfry/message"
)

// Caps limit the sessions of a user in the whole cluster. The home of the user decides:
// it ends the oldest sessions beyond a cap or, with RefuseNewest, is asked for a place
// before a session opens, and ends the newest that opened although it could not be asked.
type Caps struct {
	PerUser      int            // sessions of a user; 0: any number
	PerClass     map[string]int // the same by device class; a class that is not in it has no cap of its own
	RefuseNewest bool
}

// CapStats count what caps did. They are part of Stats.
type CapStats struct {
	Over    int    // now: users of whom this node, as their home, ends sessions or is about to look
	Evicted uint64 // sessions that this node, as the home, told their holders to close

	// Places that this node asked homes for: given, refused, and given without an answer
	// of a home that knows all sessions of the user.
	PlacesFree, PlacesFull, PlacesUnsure uint64
}

// caps is what a Directory keeps for its Caps. Guarded by Directory.mu, but for Caps.
type caps struct {
	Caps
	over   map[string]time.Time // users to look at, and when
	sweep  buckets              // to be looked at as a whole
	places map[string][]place   // given, and not taken by a session yet, by uid
	given  int                  // places in places
	purged time.Time            // when places that nobody took were looked for
	wake   chan struct{}        // capacity 1: over, sweep or places is not empty any more
}

const (
	// capTick is how often a home looks at users while there are some to look at.
	capTick = 50 * time.Millisecond
	// retellAfter is the time after which holders are told again of sessions that they
	// have not withdrawn.
	retellAfter = 500 * time.Millisecond
	// maxOver limits caps.over. Beyond it the user's whole bucket is looked at later.
	maxOver = 1 << 16
	// sweepSessions is how many sessions are looked at in a sweep while the lock is held,
	// about; decideUsers is how many users of caps.over are.
	sweepSessions = 4096
	decideUsers   = 256
)

func newCaps(c Caps) caps {
	return caps{Caps: c, over: make(map[string]time.Time), places: make(map[string][]place), wake: make(chan struct{}, 1)}
}

// register makes the classes that have caps known to the store, so that no other names
// take their room.
func (c *caps) register(s *store) {
	for name := range c.PerClass {
		s.classes.enter([]byte(name))
	}
}

func (c *caps) limits() bool { return c.PerUser > 0 || len(c.PerClass) > 0 }

// asks reports whether homes are asked for places.
func (c *caps) asks() bool { return c.RefuseNewest && c.limits() }

// settle is the time between the announcement that makes a user exceed a cap and the
// decision: sessions that were closed on other nodes before are withdrawn by then.
func (d *Directory) settle() time.Duration { return d.opt.Batch + d.opt.Batch/4 }

// HasPeers reports whether other nodes are present. Any goroutine; it takes no lock.
func (d *Directory) HasPeers() bool { return d.present.Load() > 0 }

// after returns the time of a session of this node that opened now: after the other
// sessions of its user here, so that all nodes see them in the order in which they
// opened. d.mu is held.
func (d *Directory) after(uid []byte, now uint64) uint64 {
	if d.caps.limits() {
		d.store.until(uid, func(e *entry) bool {
			if e.holder == 0 && e.opened() >= now {
				now = e.opened() + 1
			}
			return e.holder == 0 // the others of this node opened before
		})
	}
	return now
}

// enter enters a session of a node. It counts and returns false if there is no room.
// d.mu is held.
func (d *Directory) enter(node uint32, index uint16, uid []byte, key *message.SessionKey, since uint64, class, route []byte) bool {
	before := d.store.entries.Len()
	if !d.store.put(uid, index, key, since, class, route) {
		d.stats.Refused++
		return false
	}
	if d.store.entries.Len() > before && d.caps.limits() && d.isHome(bucketOf(uid)) {
		d.takePlace(node, uid, d.store.classes.enter(class))
		d.look(uid)
	}
	return true
}

// isHome reports whether this node is the home of a bucket. d.mu is held.
func (d *Directory) isHome(bucket uint16) bool {
	home, ok := d.homes.Home(bucket)
	return ok && home == d.self.ID
}

// look has a user looked at if there are more sessions than a cap allows. d.mu is held.
func (d *Directory) look(uid []byte) {
	c := &d.caps
	if !d.exceeds(uid) {
		return
	}
	if _, known := c.over[string(uid)]; known {
		return
	}
	if len(c.over) < maxOver {
		c.over[string(uid)] = time.Now().Add(d.settle())
	} else {
		c.sweep.add(bucketOf(uid))
	}
	wakeUp(c.wake)
}

// exceeds reports whether a user has more sessions than a cap allows. d.mu is held.
func (d *Directory) exceeds(uid []byte) (over bool) {
	all, classed := 0, false
	d.store.until(uid, func(e *entry) bool {
		all++
		classed = classed || e.class != 0
		over = d.caps.PerUser > 0 && all > d.caps.PerUser
		return over
	})
	return over || classed && len(d.caps.PerClass) > 0 && d.exceedsClass(uid)
}

// exceedsClass is exceeds for the caps of device classes. d.mu is held.
func (d *Directory) exceedsClass(uid []byte) (over bool) {
	var same [maxNames]int
	d.store.each(uid, func(e *entry) {
		same[e.class]++
		most := d.caps.PerClass[d.store.classes[e.class]]
		over = over || most > 0 && same[e.class] > most
	})
	return over
}

// moved has the buckets looked at whose home this node is now. Their former home may
// have gone with what it was about to do.
func (c *caps) moved(old, homes *Homes, self uint32) {
	if !c.limits() {
		return
	}
	for b := range uint16(Buckets) {
		was, known := old.Home(b)
		if home, ok := homes.Home(b); ok && home == self && !(known && was == self) {
			c.sweep.add(b)
		}
	}
	if !c.sweep.empty() {
		wakeUp(c.wake)
	}
}
