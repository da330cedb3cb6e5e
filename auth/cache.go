package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"hash/maphash"
	"math/bits"
	"sync"
	"sync/atomic"
)

// cache remembers tokens whose signature was valid, so that a client that brings a
// token again costs a hash and not a verification. Only the signature is remembered:
// times, issuer, audience and revocations are checked each time. An entry is valid
// for the set of keys that its token was verified with, and for no later one.
//
// The key is a keyed hash of the whole token, long enough that nobody finds a second
// token with the hash of a valid one. The token itself is not kept.
//
// find and get take no lock: shards call them. What changes the cache is for verifiers.
type cache struct {
	secret [32]byte
	most   int // bytes
	hits   *atomic.Uint64

	// seen has marks of valid tokens, so that a token which comes for the first time
	// costs no SHA-256. Two tokens may have the same mark, and a later one takes the
	// place of an earlier one: it is a hint.
	seed maphash.Seed
	seen []atomic.Uint32 // a power of two

	table atomic.Pointer[table] // replaced when it grows

	mu      sync.Mutex // guards this group, and is held to change the table
	bytes   int
	entries int
	hand    int // the bucket that makes room next
}

// table has the entries. Its size is a power of two.
type table []bucket

// tokenKey is a token as the cache knows it.
type tokenKey struct {
	quick  uint64 // decides about the place and the mark in seen
	hashed bool   // hash is set
	hash   tokenHash
}

// bucket has the entries with some value of the first bits of their hash. It fills a
// line of the processor's cache.
type bucket [8]atomic.Pointer[entry]

// entry is a token. Only used changes.
type entry struct {
	key    tokenKey
	set    *keySet // that its token was verified with
	claims *claims
	bytes  int
	used   atomic.Bool // since the hand passed
}

// tokenHash is cache.hash of a token.
type tokenHash [sha256.Size]byte

// entryBytes is what an entry takes at least, with its claims and its share of the table.
const entryBytes = 640

// marksEach is how many marks there is room for, for each entry.
const marksEach = 4

// minBuckets is the size of the first table: 4 KiB.
const minBuckets = 64

func newCache(most int) *cache {
	c := &cache{most: most, hits: new(atomic.Uint64), seed: maphash.MakeSeed(), seen: make([]atomic.Uint32, 1<<bits.Len(uint(most/entryBytes*marksEach)))}
	rand.Read(c.secret[:]) // never fails
	c.table.Store(newTable(minBuckets))
	return c
}

func newTable(buckets int) *table {
	t := make(table, buckets)
	return &t
}

// find returns the key of a token. The hash is not set for a token that has not been
// seen yet. Any goroutine.
func (c *cache) find(token []byte) (k tokenKey) {
	k.quick = maphash.Bytes(c.seed, token)
	if c.isMarked(&k) {
		k.hash, k.hashed = c.hash(token), true
	}
	return k
}

func (c *cache) isMarked(k *tokenKey) bool { return c.markOf(k).Load() == uint32(k.quick>>32)|1 }

func (c *cache) mark(k *tokenKey) { c.markOf(k).Store(uint32(k.quick>>32) | 1) }

func (c *cache) markOf(k *tokenKey) *atomic.Uint32 { return &c.seen[k.quick&uint64(len(c.seen)-1)] }

// hash allocates nothing for tokens below 2 KiB.
func (c *cache) hash(token []byte) tokenHash {
	buf := make([]byte, 0, 2<<10+len(c.secret))
	return sha256.Sum256(append(append(buf, c.secret[:]...), token...))
}

func (t *table) bucket(hash *tokenHash) *bucket {
	return &(*t)[binary.LittleEndian.Uint64(hash[:])&uint64(len(*t)-1)]
}

// get returns the claims of a token that a key of the set has signed, nil if it is not
// known. The claims must not be changed. It never waits. Any goroutine.
func (c *cache) get(hash *tokenHash, set *keySet) *claims {
	b := c.table.Load().bucket(hash)
	for i := range b {
		if e := b[i].Load(); e != nil && e.key.hash == *hash && e.set == set {
			if !e.used.Load() { // to write less: shards share the entry
				e.used.Store(true)
			}
			return e.claims
		}
	}
	return nil
}

// put remembers a token that a key of the set has signed, and returns false if it does
// not keep the claims. A token with an HMAC is kept when it comes for the second time:
// an entry costs as much as to verify it. Where other keys are in force beside secrets
// it is never kept, because it would take the place of a token whose verification costs
// ten times as much.
func (c *cache) put(k *tokenKey, set *keySet, found *claims) bool {
	switch {
	case found.cheap && !set.cheap:
		return false
	case found.cheap && !k.hashed:
		c.mark(k)
		return false
	}
	e := &entry{key: *k, set: set, claims: found, bytes: entryBytes + found.bytes()}
	if e.bytes > c.most/2 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	t := c.table.Load()
	at, free := t.place(e)
	for !free && c.bytes+e.bytes <= c.most && c.entries >= len(*t) {
		t = c.grow(t)
		at, free = t.place(e)
	}
	c.mark(k)
	c.replace(at, e)
	for c.bytes > c.most {
		c.makeRoom(t, e)
	}
	return true
}

// grow replaces a table that has a full bucket by one of twice its size. get finds the
// entries in the old one meanwhile.
func (c *cache) grow(old *table) *table {
	t := newTable(2 * len(*old))
	for i := range *old {
		for k := range (*old)[i] {
			if e := (*old)[i][k].Load(); e != nil {
				at, _ := t.place(e) // is free: a bucket becomes two
				at.Store(e)
			}
		}
	}
	c.table.Store(t)
	return t
}

// place returns the place for an entry: the one that it has already, a free one, or
// that of an entry that was not used for long. free says that no other entry loses it.
func (t *table) place(e *entry) (at *atomic.Pointer[entry], free bool) {
	b := t.bucket(&e.key.hash)
	at, worth := &b[e.key.quick%uint64(len(b))], 3
	for i := range b {
		is := 3
		switch old := b[i].Load(); {
		case old == nil:
			is = 1
		case old.key.hash == e.key.hash:
			return &b[i], true
		case old.set != e.set || !old.used.Load():
			is = 2
		}
		if is < worth {
			at, worth = &b[i], is
		}
	}
	return at, worth == 1
}

// replace puts an entry, or nil, into a place.
func (c *cache) replace(at *atomic.Pointer[entry], e *entry) {
	if old := at.Swap(e); old != nil {
		c.bytes -= old.bytes
		c.entries--
	}
	if e != nil {
		c.bytes += e.bytes
		c.entries++
	}
}

// makeRoom moves the hand by a bucket. It takes away the entries that were not used
// since the hand was there, and those of other keys than the newest entry's, which
// stays.
func (c *cache) makeRoom(t *table, newest *entry) {
	b := &(*t)[c.hand&(len(*t)-1)]
	c.hand++
	for i := range b {
		switch e := b[i].Load(); {
		case e == nil || e == newest:
		case e.set == newest.set && e.used.Swap(false):
		default:
			c.replace(&b[i], nil)
		}
	}
}
