package session

import (
	"encoding/binary"
	"errors"
	"math"
	"sync"
	"time"

	"github.com/minio/highwayhash"

	"belfry/offheap"
)

// addresses counts the connections of each client address of the node
// (upgrade.max_per_address), and limits how fast new ones are accepted
// (upgrade.rate_per_address). The limits are the node's, and the kernel spreads the
// connections of one address over all shards. So the shards share the counts. A
// stripe's lock is held for one look-up, and only if a limit is set.
type addresses struct {
	most    uint32 // connections; 0: any number
	rate    uint32 // new ones a second; 0: any number
	key     [32]byte
	stripes [addressStripes]addressStripe
}

const addressStripes = 16

// addressStripe is a part of the addresses, off the Go heap.
type addressStripe struct {
	mu    sync.Mutex // guards the fields below
	table *offheap.Table
	all   *offheap.Records[addressCount]

	// List of the addresses without a connection, in the order in which they lost
	// their last one. They are kept until their token bucket is full again.
	first, last uint32 // index + 1
}

// addressCount is the count of one address. No Go pointers.
type addressCount struct {
	key    addrKey
	conns  uint32
	tokens uint32 // thousandths of a connection
	seen   uint32 // when tokens was computed, in milliseconds of Server.now
	hash   uint32
	next   uint32 // in the list of addresses without a connection, index + 1
	prev   uint32
}

// charge is what a connection is charged for.
type charge uint8

const (
	chargeCount charge = 1 << iota // upgrade.max_per_address, until it has ended
	chargeRate                     // upgrade.rate_per_address
	chargeAll   = chargeCount | chargeRate
)

type admitResult uint8

const (
	admitted admitResult = iota
	tooMany
	tooFast
)

// rateBurst is how many new connections an address may open at once, in seconds
// of its rate.
const rateBurst = 2

func (o *Options) limitsAddresses() bool { return o.MaxPerAddress > 0 || o.RatePerAddress > 0 }

// newAddresses returns nil if no limit is set.
func newAddresses(o *Options) (*addresses, error) {
	if !o.limitsAddresses() {
		return nil, nil
	}
	a := &addresses{most: uint32(o.MaxPerAddress), rate: uint32(o.RatePerAddress), key: o.Key}
	owner := o.Poller.Memory.Owner("address_limits")
	var errs []error
	for i := range a.stripes {
		s := &a.stripes[i]
		s.table = offheap.NewTable(owner)
		var err error
		// Address space for twice an even share, and for addresses whose last
		// connection has ended lately.
		s.all, err = offheap.NewRecords[addressCount](owner, 2*(o.MaxSessions+o.MaxPending)/addressStripes+1<<16)
		errs = append(errs, err)
	}
	return a, errors.Join(errs...)
}

func (a *addresses) close() {
	if a == nil {
		return
	}
	for i := range a.stripes {
		s := &a.stripes[i]
		s.mu.Lock()
		s.table.Close()
		s.all.Close()
		s.mu.Unlock()
	}
}

// stripeOf returns the stripe of an address, and the hash to find it by. The hash
// has a key because clients choose their addresses.
func (a *addresses) stripeOf(key addrKey) (*addressStripe, uint32) {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], uint64(key))
	sum := highwayhash.Sum64(b[:], a.key[:])
	return &a.stripes[sum>>32%addressStripes], uint32(sum)
}

// enter charges a new connection to an address, unless a limit is reached. Without
// memory for a count, which there is none of after close, the connection is admitted
// and not counted. Any goroutine.
func (a *addresses) enter(key addrKey, now uint32, what charge) admitResult {
	result := admitted
	a.count(key, now, func(c *addressCount) { result = a.admit(c, now, what) })
	return result
}

// add counts a connection of another process, whatever the limit is. Any goroutine.
func (a *addresses) add(key addrKey, now uint32) {
	a.count(key, now, func(c *addressCount) { c.conns++ })
}

// count has f change the count of an address, under the lock of its stripe; not without
// memory for one.
func (a *addresses) count(key addrKey, now uint32, f func(c *addressCount)) {
	s, hash := a.stripeOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.find(key, hash)
	if !ok {
		if at, ok = s.create(key, hash); !ok {
			return
		}
		s.all.At(at).tokens, s.all.At(at).seen = a.rate*rateBurst*1000, now
	}
	c := s.all.At(at)
	if c.conns == 0 {
		s.unlink(at)
	}
	f(c)
	if c.conns == 0 {
		s.link(at)
	}
}

func (a *addresses) admit(c *addressCount, now uint32, what charge) admitResult {
	count := a.most > 0 && what&chargeCount != 0
	if count && c.conns >= a.most {
		return tooMany
	}
	if a.rate > 0 && what&chargeRate != 0 {
		if c.refill(a.rate, now); c.tokens < 1000 {
			return tooFast
		}
		c.tokens -= 1000
	}
	if count {
		c.conns++
	}
	return admitted
}

// refill adds the tokens of the time since seen.
func (c *addressCount) refill(rate, now uint32) {
	full := uint64(rate) * rateBurst * 1000
	// A rate per second is the same number of thousandths per millisecond.
	c.tokens = uint32(min(uint64(c.tokens)+uint64(now-c.seen)*uint64(rate), full))
	c.seen = now
}

// leave takes back what enter has counted. Any shard.
func (a *addresses) leave(key addrKey, now uint32) {
	s, hash := a.stripeOf(key)
	s.mu.Lock()
	defer s.mu.Unlock()
	at, ok := s.find(key, hash)
	if !ok || s.all.At(at).conns == 0 {
		return
	}
	c := s.all.At(at)
	if c.conns--; c.conns > 0 {
		return
	}
	if a.rate == 0 {
		s.drop(at)
		return
	}
	s.link(at)
}

// sweep forgets addresses without a connection whose token bucket is full, and
// gives memory back. Each shard sweeps its share of the stripes at each tick.
func (a *addresses) sweep(now uint32, shard, shards int) {
	if a == nil {
		return
	}
	for i := shard; i < addressStripes; i += shards {
		s := &a.stripes[i]
		s.mu.Lock()
		for n := 0; s.first != 0 && n < sweepMost; n++ {
			at := s.first - 1
			if now-s.all.At(at).seen < rateBurst*1000 {
				break
			}
			s.unlink(at)
			s.drop(at)
		}
		s.table.Trim()
		s.all.Trim()
		s.mu.Unlock()
	}
}

// sweepMost is how many addresses a sweep forgets in one stripe: it then holds the
// stripe's lock for at most about 100 µs.
const sweepMost = 2048

func (s *addressStripe) find(key addrKey, hash uint32) (at uint32, ok bool) {
	for p := s.table.Probe(hash); p.Next(); {
		if s.all.At(p.Val()).key == key {
			return p.Val(), true
		}
	}
	return 0, false
}

// create adds an address, without a connection.
func (s *addressStripe) create(key addrKey, hash uint32) (at uint32, ok bool) {
	if at, ok = s.all.Alloc(); !ok {
		return 0, false
	}
	if err := s.table.Insert(hash, at); err != nil {
		s.all.Free(at)
		return 0, false
	}
	*s.all.At(at) = addressCount{key: key, hash: hash}
	s.link(at)
	return at, true
}

func (s *addressStripe) drop(at uint32) {
	s.table.Delete(s.all.At(at).hash, at)
	s.all.Free(at)
}

// link puts an address at the end of the list of addresses without a connection.
func (s *addressStripe) link(at uint32) {
	c := s.all.At(at)
	c.next, c.prev = 0, s.last
	if s.last != 0 {
		s.all.At(s.last - 1).next = at + 1
	} else {
		s.first = at + 1
	}
	s.last = at + 1
}

func (s *addressStripe) unlink(at uint32) {
	c := s.all.At(at)
	if c.prev != 0 {
		s.all.At(c.prev - 1).next = c.next
	} else {
		s.first = c.next
	}
	if c.next != 0 {
		s.all.At(c.next - 1).prev = c.prev
	} else {
		s.last = c.prev
	}
	c.next, c.prev = 0, 0
}

// now returns the milliseconds since the server was made, modulo 2^32. It is the
// clock of the addresses' token buckets, which goes on while a shard does not run.
func (s *Server) now() uint32 {
	return uint32(uint64(s.clock().Milliseconds()) & math.MaxUint32)
}

// sinceStart returns the usual Server.clock; tests have their own.
func sinceStart() func() time.Duration {
	start := time.Now()
	return func() time.Duration { return time.Since(start) }
}
