package idempotency

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"belfry/broadcast"
	"belfry/cluster"
)

// Options configure Keys. Without Control there are no other nodes.
type Options struct {
	Control *broadcast.Control
	Members *cluster.Members       // tells when nodes come and go
	Homes   func() *cluster.Homes  // as this node sees them now
	Reach   func() (down []string) // why there may be nodes that are not known; nil: never
	// Settle is how long after the start no key is claimed, because the other nodes are
	// not known yet; 0: 3 s.
	Settle   time.Duration
	Window   time.Duration // for which keys are remembered; 0: 10 min
	MaxKeys  int           // 0: 131,072; beyond it the oldest are forgotten
	MaxBytes int           // of keys and answers; 0: 64 MiB; beyond it the oldest are forgotten
}

// ProgressTime is how long another node is believed to be busy with a request. After it
// that node is asked, and if it is gone the key is free, although its push may have been
// delivered.
const ProgressTime = time.Minute

// Errors of Claim. After all of them nothing was delivered.
var (
	ErrProgress = errors.New("a request with this key is in progress")
	ErrOther    = errors.New("this key was used with another request")
)

// UnavailableError says why it is not known whether a key is claimed.
type UnavailableError struct{ Detail string }

func (e *UnavailableError) Error() string { return e.Detail }

// Keys are the Idempotency-Keys that this node knows. New is called before
// broadcast.Node.Start and before cluster.NewDirectory, so that it hears of members first.
// The other methods may be called by any goroutine.
type Keys struct {
	opt  Options
	self uint32

	mu        sync.Mutex // guards this group; held for bounded work in memory
	store     *store
	started   time.Time
	changed   time.Time // when a node came or went
	inherited time.Time // changed of the process before
	number    uint64    // of the last claim
	stats     Stats
}

// Stats are counters since New and, where marked with "now", present values.
type Stats struct {
	Known       int    // now: keys
	Bytes       int    // now: of keys and answers
	New         uint64 // claims of this node that were granted
	Replayed    uint64 // requests that were answered with the first answer
	Progress    uint64 // requests refused because the first one is in progress
	Other       uint64 // requests refused because the key was used with another request
	Unavailable uint64 // requests refused because nodes did not answer
	Asked       uint64 // claims of this node for which all nodes were asked
	OverKeys    uint64 // keys forgotten before their time, or not taken, because of MaxKeys
	OverBytes   uint64 // the same, because of MaxBytes
}

// New returns Keys without a key.
func New(o Options) (*Keys, error) {
	if o.Settle == 0 {
		o.Settle = 3 * time.Second
	}
	if o.Window == 0 {
		o.Window = 10 * time.Minute
	}
	if o.MaxKeys == 0 {
		o.MaxKeys = 131_072
	}
	if o.MaxBytes == 0 {
		o.MaxBytes = 64 << 20
	}
	if o.Window < ProgressTime || o.Window > 24*time.Hour || o.MaxKeys < 1 || o.MaxBytes < 1<<16 || o.Settle < 0 {
		return nil, fmt.Errorf("idempotency: Window %v, MaxKeys %d, MaxBytes %d: allowed are a Window of %v to 24h, at least 1 key and 64 KiB", o.Window, o.MaxKeys, o.MaxBytes, ProgressTime)
	}
	k := &Keys{opt: o, started: time.Now(), changed: time.Now(), number: rand.Uint64()}
	if o.Control != nil {
		k.self = o.Control.Self().ID
		o.Control.Handle(kind, k.handle)
		o.Members.Watch(k.member)
	}
	k.store = newStore(k.self, &k.opt)
	return k, nil
}

// member is told of changes of members.
func (k *Keys) member(c cluster.Change) {
	if c.State == cluster.Suspected || c.State == cluster.Alive && c.Was == cluster.Suspected && !c.Restarted {
		return // it keeps its homes
	}
	k.mu.Lock()
	k.changed = time.Now()
	k.mu.Unlock()
}

// unsure says whether keys may be known to other nodes only. k.mu is held.
func (k *Keys) unsure(now time.Time) bool { return now.Sub(k.changed) < k.opt.Window }

// Claim is a key that a request has. One of its methods is called at last.
type Claim struct {
	k   *Keys
	e   *entry
	was *entry   // of a request in progress whose node may have died; nil: none
	to  []uint32 // nodes that know the claim
	all bool     // every node may know it
}

// Claim claims a key. If the key is known, it returns the answer of the first request, or
// an error. It waits for other nodes until ctx is done.
//
// Errors: ErrProgress, ErrOther, *UnavailableError.
func (k *Keys) Claim(ctx context.Context, id ID, print Print) (c *Claim, first *Answer, err error) {
	c, first, err = k.begin(id, print)
	if c != nil && k.opt.Control != nil {
		if first, err = k.ask(ctx, c); first != nil || err != nil {
			c.Release()
			c = nil
		}
	}
	k.count(first, err)
	return c, first, err
}

// begin enters the key at this node.
func (k *Keys) begin(id ID, print Print) (*Claim, *Answer, error) {
	now := time.Now()
	k.mu.Lock()
	defer k.mu.Unlock()
	all, was := k.unsure(now), (*entry)(nil)
	if e := k.store.get(id, now); e != nil {
		if !k.forsaken(e, now) {
			return known(e, print)
		}
		k.store.remove(e)
		was, all = e, true
	}
	k.number++
	e := &entry{id: id, print: print, owner: k.self, claim: k.number, since: now, firm: k.opt.Control == nil}
	if !k.store.put(e) {
		return nil, nil, &UnavailableError{"as many keys as may be are in progress (api.idempotency.max_keys, api.idempotency.max_bytes)"}
	}
	return &Claim{k: k, e: e, was: was, all: all}, nil, nil
}

// forsaken says whether the node of a request in progress may have died.
func (k *Keys) forsaken(e *entry, now time.Time) bool {
	return !e.done && e.owner != k.self && now.Sub(e.since) >= ProgressTime
}

// known returns what is known of a key.
func known(e *entry, print Print) (*Claim, *Answer, error) {
	switch {
	case e.print != print:
		return nil, nil, ErrOther
	case e.done:
		return nil, &e.answer, nil
	}
	return nil, nil, ErrProgress
}

func (k *Keys) count(first *Answer, err error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case first != nil:
		k.stats.Replayed++
	case err == nil:
		k.stats.New++
	case err == ErrProgress:
		k.stats.Progress++
	case err == ErrOther:
		k.stats.Other++
	default:
		k.stats.Unavailable++
	}
}

// Finish says what the request was answered: requests with the same key get the same.
func (c *Claim) Finish(a Answer) {
	k := c.k
	k.mu.Lock()
	k.store.finish(c.e, a)
	k.mu.Unlock()
	c.tell(&command{op: opFinish, answer: a})
}

// Release says that nothing was delivered: the key is free again.
func (c *Claim) Release() {
	k := c.k
	k.mu.Lock()
	if k.store.entries[c.e.id] == c.e {
		k.store.remove(c.e)
		if c.was != nil {
			k.store.put(c.was)
		}
	}
	k.mu.Unlock()
	c.tell(&command{op: opRelease})
}

// tell tells the nodes that know the claim. A node that is not told takes the request for
// one in progress, and asks after ProgressTime.
func (c *Claim) tell(m *command) {
	m.id, m.print, m.claim = c.e.id, c.e.print, c.e.claim
	if c.all && c.k.opt.Control != nil {
		_ = c.k.opt.Control.Send(kind, m.encode())
		return
	}
	for _, node := range c.to {
		_ = c.k.opt.Control.SendTo(node, kind, m.encode())
	}
}

// Stats returns the counters.
func (k *Keys) Stats() Stats {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.store.expire(time.Now())
	st := k.stats
	st.Known, st.Bytes, st.OverKeys, st.OverBytes = len(k.store.entries), k.store.bytes, k.store.overKeys, k.store.overBytes
	return st
}

// bucketOf returns the bucket whose home is the key's.
func bucketOf(id ID) uint16 { return binary.BigEndian.Uint16(id[:]) % cluster.Buckets }
