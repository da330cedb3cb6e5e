package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"sync"
	"sync/atomic"
)

// cache remembers tokens whose signature was valid, so that a client that comes
// back with the same token costs a hash and not a verification. Only the signature
// is remembered: the time, the issuer and revocations are checked each time. What it
// holds is for one set of keys; another set empties it.
//
// The key is a keyed hash of the token, long enough that nobody finds a second token
// with the hash of a valid one.
type cache struct {
	secret [32]byte
	most   int // bytes, of both generations
	hits   atomic.Uint64

	mu       sync.Mutex // held only for map operations
	set      *keySet
	young    map[[32]byte]*claims
	old      map[[32]byte]*claims // replaced by young when that has half of most
	youngest int                  // bytes in young
}

// entryBytes is about what an entry takes beside the texts of its claims.
const entryBytes = 512

func newCache(most int) *cache {
	c := &cache{most: most, young: map[[32]byte]*claims{}}
	rand.Read(c.secret[:]) // never fails
	return c
}

func (c *cache) hash(token string) [32]byte {
	buf := make([]byte, 0, 1024)
	return sha256.Sum256(append(append(buf, c.secret[:]...), token...))
}

// get returns the claims of a token that keys of the set have signed, nil if it is
// not known. The claims must not be changed.
func (c *cache) get(token string, set *keySet) *claims {
	if c == nil || set.cheap {
		return nil
	}
	hash := c.hash(token)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set != set {
		return nil
	}
	found := c.young[hash]
	if found == nil {
		if found = c.old[hash]; found != nil {
			c.add(hash, token, found)
		}
	}
	if found != nil {
		c.hits.Add(1)
	}
	return found
}

// put remembers a token that a key of the set has signed. Tokens with an HMAC are
// left out: they would take the place of tokens whose verification costs ten times as
// much.
func (c *cache) put(token string, set *keySet, found *claims) {
	if c == nil || found.cheap {
		return
	}
	hash := c.hash(token)
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.set != set {
		c.set, c.young, c.old, c.youngest = set, map[[32]byte]*claims{}, nil, 0
	}
	c.add(hash, token, found)
}

// add adds an entry. The caller holds mu.
func (c *cache) add(hash [32]byte, token string, found *claims) {
	size := entryBytes + len(token)
	if c.youngest+size > c.most/2 {
		c.old, c.young, c.youngest = c.young, map[[32]byte]*claims{}, 0
	}
	c.young[hash] = found
	c.youngest += size
}
