package cluster

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"belfry/broadcast"
	"belfry/message"
	"belfry/offheap"
	"belfry/ticker"
)

// Kinds of commands.
const (
	kindAnnounce = "cl.announce" // an ask: items of a holder for a keeper
	kindCompare  = "cl.compare"  // a tell of a keeper to a holder: compare all buckets
	kindWhere    = "cl.where"    // an ask to a home
)

// Options configure a Directory.
type Options struct {
	Control *broadcast.Control
	Members *Members
	// MaxSessions limits the sessions that the directory knows, those of this node
	// and those that it keeps for others; 0: 4,194,304. Beyond it sessions are not
	// entered and counted in Stats.Refused; answers then name the holder.
	MaxSessions int
	// Batch is the time in which changes for one keeper are collected; 0: 200 ms.
	// The first change after a pause is sent at once.
	Batch time.Duration
	// Compare is the time between two comparisons of all buckets with one keeper;
	// 0: 30 s.
	Compare time.Duration
	// AskTime is how long the answer to an announcement is awaited; 0: 1 s.
	AskTime time.Duration
	// Memory counts the bytes of the directory, as owner "cluster"; nil: nobody does.
	Memory *offheap.Owners
	// Overhear has all relays of pushes reach this node, or ends that
	// (broadcast.Node.Overhear); nil: they never do.
	Overhear func(on bool)
	Log      *zap.Logger // default: nothing is logged
}

// Session is one session of a user.
type Session struct {
	Key   message.SessionKey // Key.SID(node) is the session id
	Since time.Time          // in whole seconds
	Class string             // of the device, up to 32 bytes; "" if none is known
}

// Directory knows which nodes hold the sessions of which users, as far as this node is
// a home or the holder. NewDirectory and OnGone are called before broadcast.Node.Start,
// the other methods by any goroutine that may wait for a lock: no shard.
type Directory struct {
	opt     Options
	self    broadcast.Sighting
	control *broadcast.Control
	onGone  []func(Member, []GoneSession) // not changed after Run
	wake    chan struct{}                 // capacity 1: changes wait
	view    atomic.Pointer[view]          // what Home needs
	cover   cover                         // sessions that are about to open
	links   sync.WaitGroup                // goroutines of links

	mu       sync.Mutex // guards this group
	ctx      context.Context
	changes  []Change
	homes    *Homes
	store    *store
	holders  map[uint32]*holder   // nodes that are present, by id; not this one
	out      map[uint32]*link     // to the same nodes
	free     []uint16             // indexes of former holders
	indexes  uint16               // taken and free ones; 0 is this node
	number   uint64               // of the last body sent
	ids      []uint32             // of holders, by index
	lost     map[uint32]time.Time // nodes that are gone without having left, and since when
	expected expected             // sessions of other nodes that are about to open
	unsure   time.Time            // until then this node does not know all holders
	verified time.Time            // when Verify was called
	stats    Stats
}

// Stats are counters since the start and, where marked with "now", present values.
type Stats struct {
	Own         int    // now: sessions of this node
	Kept        int    // now: sessions of other nodes
	Holders     int    // now: other nodes that are present
	Pending     int    // now: buckets of other nodes that this one keeps and does not know completely
	Bodies      uint64 // announcements that keepers confirmed
	Failed      uint64 // announcements that were not confirmed
	Restated    uint64 // buckets announced as a whole because they differed
	Refused     uint64 // sessions not entered for want of room
	Untold      uint64 // of these, sessions of this node: no home knows of them
	Gone        uint64 // sessions of nodes that are gone
	Asked       uint64 // users that other nodes asked about
	Malformed   uint64 // bodies of other nodes that could not be read
	Expected    uint64 // sessions that were announced before they opened
	Overheard   uint64 // times that this node began to overhear relays, because homes did not know its sessions
	Overhearing bool   // now: all relays reach this node
	Waiting     int    // now: sessions that wait until a home expects them
}

// NewDirectory returns an empty directory. Close releases its memory.
func NewDirectory(o Options) (*Directory, error) {
	if o.MaxSessions == 0 {
		o.MaxSessions = 4 << 20
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Memory == nil {
		o.Memory = new(offheap.Owners)
	}
	if err := errors.Join(
		fill("Batch", &o.Batch, 200*time.Millisecond, time.Millisecond, 10*time.Second),
		fill("Compare", &o.Compare, 30*time.Second, 10*time.Millisecond, time.Hour),
		fill("AskTime", &o.AskTime, time.Second, 10*time.Millisecond, time.Minute)); err != nil {
		return nil, err
	}
	if o.MaxSessions < 1 || o.MaxSessions > 1<<28 {
		return nil, fmt.Errorf("cluster: MaxSessions is %d; allowed are 1 to %d", o.MaxSessions, 1<<28)
	}
	s, err := newStore(o.Memory.Owner("cluster"), o.MaxSessions)
	if err != nil {
		return nil, fmt.Errorf("cluster: %w", err)
	}
	d := &Directory{
		opt: o, control: o.Control, self: o.Control.Self(), store: s, wake: make(chan struct{}, 1), indexes: 1,
		holders: make(map[uint32]*holder), out: make(map[uint32]*link),
		ids: []uint32{0}, lost: make(map[uint32]time.Time), expected: newExpected(),
	}
	d.homes = NewHomes([]uint32{d.self.ID})
	d.view.Store(&view{homes: d.homes})
	d.cover.init()
	o.Members.Watch(d.changed)
	o.Control.OnPeer(func(p broadcast.Peer) { d.kick(p.ID) })
	o.Control.Handle(kindAnnounce, d.announced)
	o.Control.Handle(kindCompare, d.compare)
	o.Control.Handle(kindWhere, d.whereAsked)
	return d, nil
}

// fill sets an option that is 0 to its default. It returns an error if the option is
// out of range.
func fill(name string, v *time.Duration, def, least, most time.Duration) error {
	if *v == 0 {
		*v = def
	}
	if *v < least || *v > most {
		return fmt.Errorf("cluster: %s is %v; allowed are %v to %v", name, *v, least, most)
	}
	return nil
}

// Run works until ctx is done: it computes homes, tells keepers what this node has,
// and looks after what it keeps itself. It is called once, after broadcast.Node.Start.
func (d *Directory) Run(ctx context.Context) {
	d.mu.Lock()
	d.ctx = ctx
	d.unsure = time.Now().Add(settleTime)
	d.mu.Unlock()
	ticks := ticker.New(checkEvery)
	defer ticks.Stop()
	defer d.links.Wait()
	for {
		select {
		case <-d.wake:
			d.gone(d.rehome())
		case <-d.cover.wake:
			d.expect()
		case now := <-ticks.C:
			d.lookAfter(now)
			d.watchCover(now)
		case <-ctx.Done():
			return
		}
	}
}

// checkEvery is how often a keeper looks which buckets it does not know completely.
const checkEvery = 500 * time.Millisecond

// Close releases the memory. It is called after Run has returned and
// broadcast.Node.Close.
func (d *Directory) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store != nil {
		d.store.close()
		d.store = nil
	}
}

// Leave makes this node a home no more. Its sessions stay known until Closed. It is
// called when the node begins to drain.
func (d *Directory) Leave() {
	d.control.Leave()
	wakeUp(d.wake)
}

// changed is told of members. It runs on a goroutine of the bus.
func (d *Directory) changed(c Change) {
	d.mu.Lock()
	d.changes = append(d.changes, c)
	d.mu.Unlock()
	wakeUp(d.wake)
}

func wakeUp(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Opened enters a session of this node. It does nothing if the session is known.
func (d *Directory) Opened(uid []byte, s Session) {
	class := s.Class[:min(len(s.Class), maxClass)]
	since := uint32(s.Since.Unix())
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store == nil || len(uid) == 0 {
		return
	}
	if !d.store.put(uid, 0, &s.Key, since, []byte(class)) {
		d.stats.Refused++
		d.stats.Untold++
		d.overhear("the directory is full (cluster.max_sessions)")
		return
	}
	if l := d.linkFor(uid); l != nil {
		l.queue = appendOpen(l.queue, uid, &s.Key, since, class)
		l.queued()
	}
}

// Closed takes a session of this node out.
func (d *Directory) Closed(uid []byte, key message.SessionKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store == nil || !d.store.remove(uid, 0, &key) {
		return
	}
	if l := d.linkFor(uid); l != nil {
		l.queue = appendClose(l.queue, uid, &key)
		l.queued()
	}
}

// linkFor returns the link to the keeper of a user of this node, nil if there is none
// or if the bucket is compared or announced as a whole later anyway. d.mu is held.
func (d *Directory) linkFor(uid []byte) *link {
	bucket := bucketOf(uid)
	keeper, ok := d.homes.Keeper(bucket, d.self.ID)
	if l := d.out[keeper]; ok && l != nil && !l.check.has(bucket) && !l.restate.has(bucket) {
		return l
	}
	return nil
}

// Flush waits until the keepers know what this node has told, or ctx is done. It is
// called before the bus closes, so that no keeper takes sessions that were closed for
// sessions of a node that died.
func (d *Directory) Flush(ctx context.Context) error {
	for {
		d.mu.Lock()
		left := 0
		for _, l := range d.out {
			if l.busy() {
				left++
				wakeUp(l.wake)
			}
		}
		d.mu.Unlock()
		if left == 0 {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("cluster: %d nodes have not confirmed the last sessions: %w", left, ctx.Err())
		}
	}
}

// Stats returns the counters.
func (d *Directory) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := d.stats
	if d.store == nil {
		return s
	}
	s.Holders = len(d.holders)
	for at, l := range d.store.lists {
		if at>>12 == 0 {
			s.Own += int(l.count)
		}
	}
	s.Overhearing = d.cover.overhears
	s.Waiting = len(d.cover.unnotified)
	for _, l := range d.out {
		s.Waiting += len(l.expects) + len(l.asked)
	}
	s.Kept = d.store.entries.Len() - s.Own
	for _, h := range d.holders {
		s.Pending += h.pending()
	}
	return s
}

// Homes returns the homes as this node sees them.
func (d *Directory) Homes() *Homes {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.homes
}
