package auth

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// keyOf returns the key of a token that is to be kept.
func keyOf(c *cache, token string) *tokenKey {
	k := c.find([]byte(token))
	k.hash, k.hashed = c.hash([]byte(token)), true
	return &k
}

// While there is room nothing is forgotten, however many entries there are.
func TestCacheGrows(t *testing.T) {
	c, set := newCache(64<<20), &keySet{}
	const n = 20_000
	for i := range n {
		if !c.put(keyOf(c, fmt.Sprint("token ", i)), set, &claims{uid: fmt.Sprint(i)}) {
			t.Fatal("not kept")
		}
	}
	for i := range n {
		if found := c.get(&keyOf(c, fmt.Sprint("token ", i)).hash, set); found == nil || found.uid != fmt.Sprint(i) {
			t.Fatalf("token %d: %+v", i, found)
		}
	}
	if c.entries != n || len(*c.table.Load()) > 2*n {
		t.Errorf("%d entries in %d buckets", c.entries, len(*c.table.Load()))
	}
}

// A full cache keeps tokens that are used, forgets others, and has no more bytes than it
// may. Entries of other keys go first.
func TestCacheIsBounded(t *testing.T) {
	const most = 256 << 10
	c, old, set := newCache(most), &keySet{}, &keySet{}
	for i := range 1000 {
		c.put(keyOf(c, fmt.Sprint("old ", i)), old, &claims{})
	}
	used := make([]*tokenKey, 50)
	for i := range used {
		used[i] = keyOf(c, fmt.Sprint("used ", i))
		c.put(used[i], set, &claims{})
	}
	for i := range 5000 {
		for _, k := range used {
			c.get(&k.hash, set)
		}
		if c.put(keyOf(c, fmt.Sprint("once ", i)), set, &claims{}); c.bytes > most {
			t.Fatalf("%d bytes after %d", c.bytes, i)
		}
	}
	kept := 0
	for _, k := range used {
		if c.get(&k.hash, set) != nil {
			kept++
		}
	}
	if kept < len(used)*9/10 {
		t.Errorf("%d of %d tokens are kept that are used all the time", kept, len(used))
	}
	for n := range *c.table.Load() {
		b := &(*c.table.Load())[n]
		for i := range b {
			if e := b[i].Load(); e != nil && e.set == old {
				t.Fatal("an entry of other keys is kept")
			}
		}
	}
	if c.put(keyOf(c, "large"), set, &claims{meta: make([]byte, most/2)}) {
		t.Error("an entry took half of the cache")
	}
}

// The bytes that are counted are about those of the process.
func TestCacheMemory(t *testing.T) {
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	a, err := New(Options{JWT: JWT{PublicKeyFiles: []string{publicFile(t, "EdDSA")}, CacheBytes: 1 << 20}})
	if err != nil {
		t.Fatal(err)
	}
	tokens := make([]string, 2000)
	for i := range tokens {
		tokens[i] = signed(t, "EdDSA", "", with(map[string]any{"sub": fmt.Sprintf("user %010d", i), "topics": []string{"news", "offers", fmt.Sprint("team.", i)}}))
	}
	before := heap()
	for _, token := range tokens {
		if _, err := a.inForce.Load().verifier.verify(token); err != nil {
			t.Fatal(err)
		}
	}
	c := a.inForce.Load().verifier.cache
	took := heap() - before
	t.Logf("%d entries, %d bytes counted, %d bytes", c.entries, c.bytes, took)
	if took > int64(c.most)*5/4 || took < int64(c.bytes)/2 || c.entries == len(tokens) {
		t.Errorf("%d entries, %d bytes counted, %d bytes", c.entries, c.bytes, took)
	}
	runtime.KeepAlive(tokens)
}

// Shards look up while verifiers put, with room for few.
func TestCacheConcurrently(t *testing.T) {
	c, set := newCache(64<<10), &keySet{}
	keys := make([]*tokenKey, 400)
	for i := range keys {
		keys[i] = keyOf(c, fmt.Sprint(i))
	}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for i, k := range keys {
				if k := *k; i%3 == 0 {
					c.find([]byte(fmt.Sprint(i)))
				} else {
					c.put(&k, set, &claims{uid: fmt.Sprint(i)})
				}
				if found := c.get(&k.hash, set); found != nil && found.uid != fmt.Sprint(i) {
					t.Errorf("token %d has the claims of %s", i, found.uid)
				}
			}
		})
	}
	all.Wait()
	if c.bytes > c.most {
		t.Errorf("%d bytes", c.bytes)
	}
}
