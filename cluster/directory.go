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
	kindEvict    = "cl.evict"    // a tell of a home to a holder: sessions beyond a cap
	kindPlace    = "cl.place"    // an ask to a home: places for sessions that are to open
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
	// Compare is how long after a change all buckets are compared with the keeper that
	// was told; 0: 30 s. If nothing changes they are after ten times as long.
	Compare time.Duration
	// AskTime is how long the answer to an announcement is awaited; 0: 1 s.
	AskTime time.Duration
	// Users is told who is online in the cluster; nil: nobody is, and it costs nothing.
	Users Users
	// List is the time in which Users.List is told all buckets; 0: 1 min.
	List time.Duration
	// Caps limit the sessions of a user; all nodes should have the same.
	Caps Caps
	// Evict ends a session of this node that exceeds a cap; byClass says that it is
	// that of its device class. It is called by goroutines of the bus and of the
	// directory and must not block; nil: sessions beyond caps are counted only.
	Evict func(key message.SessionKey, byClass bool)
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
	Since time.Time          // to a millisecond; Where returns whole seconds
	Class string             // of the device, up to 32 bytes; "" if none is known
	Route string             // of the gateway, up to 32 bytes, which is told when the session ends; "": none. Only OnGone returns it
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
	touched chan struct{}                 // capacity 1: unseen was set
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
	online   online
	stats    Stats
	unseen   bool // something has changed since the last look
	caps     caps

	present atomic.Int32 // other nodes that are present
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

	CapStats
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
		fill("List", &o.List, time.Minute, time.Second, time.Hour),
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
		opt: o, control: o.Control, self: o.Control.Self(), store: s, wake: make(chan struct{}, 1), touched: make(chan struct{}, 1), indexes: 1,
		holders: make(map[uint32]*holder), out: make(map[uint32]*link), caps: newCaps(o.Caps),
		ids: []uint32{0}, lost: make(map[uint32]time.Time), expected: newExpected(),
	}
	d.caps.register(s)
	d.homes = NewHomes([]uint32{d.self.ID})
	d.view.Store(&view{homes: d.homes})
	d.cover.init(o.Overhear != nil) // broadcast begins with it
	o.Members.Watch(d.changed)
	o.Control.OnPeer(func(p broadcast.Peer) { d.kick(p.ID) })
	o.Control.Handle(kindAnnounce, d.announced)
	o.Control.Handle(kindCompare, d.compare)
	o.Control.Handle(kindWhere, d.whereAsked)
	o.Control.Handle(kindEvict, d.evictTold)
	o.Control.Handle(kindPlace, d.placesAsked)
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
	var batches <-chan time.Time // nil: Options.Users is not told
	d.mu.Lock()
	d.ctx = ctx
	if d.opt.Users != nil && d.store != nil {
		d.online.begin(d, time.Now())
		batch := ticker.New(d.opt.Batch)
		defer batch.Stop()
		batches = batch.C
	}
	d.unsure = time.Now().Add(settleTime)
	d.mu.Unlock()
	look := time.NewTimer(checkEvery)
	defer look.Stop()
	defer d.links.Wait()
	if d.caps.limits() {
		d.links.Go(func() { d.enforce(ctx) })
	}
	for {
		select {
		case <-d.wake:
			gone, back := d.rehome()
			d.askToCompare(back) // they may not have noticed that they were taken for gone
			d.gone(gone)
		case now := <-batches:
			d.tellUsers(now)
		case <-d.cover.wake:
			d.expect()
		case <-d.touched:
			look.Reset(checkEvery)
		case <-look.C:
			now := time.Now()
			if pending, covering := d.lookAfter(now), d.watchCover(now); pending || covering {
				look.Reset(checkEvery)
			}
		case <-ctx.Done():
			return
		}
	}
}

// checkEvery is how often a keeper looks which buckets it does not know completely. An
// idle node does not look: that would wake it up.
const checkEvery = 500 * time.Millisecond

// touch has Run look after the holders, and the memory, in a moment. d.mu is held.
func (d *Directory) touch() {
	if !d.unseen {
		d.unseen = true
		wakeUp(d.touched)
	}
}

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
	class, route := s.Class[:min(len(s.Class), maxClass)], s.Route[:min(len(s.Route), maxRoute)]
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.store == nil || len(uid) == 0 {
		return
	}
	since := d.after(uid, uint64(max(s.Since.UnixMilli(), 0)))
	if !d.enter(d.self.ID, 0, uid, &s.Key, since, []byte(class), []byte(route)) {
		d.stats.Untold++
		d.overhear("the directory is full (cluster.max_sessions)")
		return
	}
	d.touch()
	if l := d.linkFor(uid); l != nil {
		l.queue = appendOpen(l.queue, uid, &s.Key, since, class, route)
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
	d.touch()
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
	s.Over = len(d.caps.over)
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
