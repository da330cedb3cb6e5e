package cluster

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"pgregory.net/rapid"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/offheap"
)

var nopLog = zap.NewNop()

func testKey(n uint64) (k message.SessionKey) {
	binary.BigEndian.PutUint64(k[10:], mix(n))
	return k
}

// A session of a 16-byte uid that has one takes less than 100 bytes, outside the Go
// heap.
func TestMemory(t *testing.T) {
	const sessions = 300_000
	var memory offheap.Owners
	s, err := newStore(memory.Owner("cluster"), sessions)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	for i := range uint64(sessions) {
		key := testKey(i)
		if !s.put(fmt.Appendf(nil, "user%012d", i), 1, &key, 1, []byte("phone"), []byte("chat")) {
			t.Fatal("no room")
		}
	}
	per := float64(memory.Owner("cluster").Bytes()) / sessions
	t.Logf("%.1f bytes a session", per)
	if per > 100 {
		t.Errorf("%.1f bytes a session; want at most 100", per)
	}
	for b := range uint16(Buckets) {
		s.drop(1, b)
	}
	for range 100 {
		s.trim()
	}
	if left := memory.Owner("cluster").Bytes(); s.entries.Len() != 0 || s.uids.Len() != 0 || s.table.Len() != 0 || left > 1<<20 {
		t.Errorf("%d sessions, %d uids, %d bytes left", s.entries.Len(), s.uids.Len(), left)
	}
}

// A user may have very many sessions, if there is no cap: to enter one and to take it out
// takes no longer for that, because the lock is held meanwhile. Each takes less than 100
// bytes, too.
func TestManySessionsOfAUser(t *testing.T) {
	const sessions = 100_000
	var memory offheap.Owners
	s, err := newStore(memory.Owner("cluster"), sessions)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	begun := time.Now()
	for i := range uint64(sessions) {
		key := testKey(i)
		if !s.put([]byte("guest"), uint16(i%3), &key, i, nil, nil) {
			t.Fatal("no room")
		}
	}
	if per := memory.Owner("cluster").Bytes() / sessions; per > 100 {
		t.Errorf("%d bytes a session", per)
	}
	for i := range uint64(sessions) {
		if key := testKey(i); !s.remove([]byte("guest"), uint16(i%3), &key) {
			t.Fatal("a session is not found")
		}
	}
	if took := time.Since(begun); took > 5*time.Second {
		t.Errorf("%v for %d sessions", took, sessions) // a walk for each takes ten times as long
	}
	if s.entries.Len() != 0 || s.keys.Len() != 0 || s.table.Len() != 0 {
		t.Errorf("left: %d sessions, %d keys, %d users", s.entries.Len(), s.keys.Len(), s.table.Len())
	}
}

// The store does what a map does, and its digests agree with what it holds.
func TestStoreModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var memory offheap.Owners
		s, err := newStore(memory.Owner("cluster"), 64)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		truth := make(map[stored]bool)
		one := rapid.Custom(func(t *rapid.T) stored {
			return stored{fmt.Sprint("u", rapid.IntRange(0, 5).Draw(t, "uid")), uint16(rapid.IntRange(0, 2).Draw(t, "holder")), testKey(rapid.Uint64Range(0, 8).Draw(t, "key"))}
		})
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				x := one.Draw(t, "session")
				if ok := s.put([]byte(x.uid), x.holder, &x.key, 5, nil, nil); ok != (truth[x] || len(truth) < 64) {
					t.Fatalf("put: %v", ok)
				} else if ok {
					truth[x] = true
				}
			},
			"remove": func(t *rapid.T) {
				x := one.Draw(t, "session")
				if s.remove([]byte(x.uid), x.holder, &x.key) != truth[x] {
					t.Fatal("remove")
				}
				delete(truth, x)
			},
			"drop": func(t *rapid.T) {
				x := one.Draw(t, "session")
				bucket := bucketOf([]byte(x.uid))
				s.drop(x.holder, bucket)
				for y := range truth {
					if y.holder == x.holder && bucketOf([]byte(y.uid)) == bucket {
						delete(truth, y)
					}
				}
			},
			"": func(t *rapid.T) { checkStore(t, s, truth) },
		})
	})
}

// stored is a session of the model.
type stored struct {
	uid    string
	holder uint16
	key    message.SessionKey
}

func checkStore(t *rapid.T, s *store, truth map[stored]bool) {
	if s.entries.Len() != len(truth) {
		t.Fatalf("%d sessions; want %d", s.entries.Len(), len(truth))
	}
	want := make(map[listKey]list)
	for x := range truth {
		at := keyOf(x.holder, bucketOf([]byte(x.uid)))
		l := want[at]
		e := entry{key: x.key}
		l.count, l.sum = l.count+1, l.sum+e.digest()
		want[at] = l
		found := 0
		s.each([]byte(x.uid), func(e *entry) {
			if e.key == x.key && e.holder == x.holder {
				found++
			}
		})
		if found != 1 {
			t.Fatalf("%v found %d times", x, found)
		}
	}
	if len(want) != len(s.lists) {
		t.Fatalf("%d lists; want %d", len(s.lists), len(want))
	}
	for at, l := range s.lists {
		walked := 0
		s.eachOf(uint16(at>>12), uint16(at&(Buckets-1)), func(*entry) { walked++ })
		if w := want[at]; w.count != l.count || w.sum != l.sum || walked != int(l.count) {
			t.Fatalf("list %+v, %d sessions in it; want %+v", l, walked, w)
		}
	}
}

// A body is taken apart only between items, and each item is read as it was written.
func TestItems(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	var p []byte
	ends := []int{0}
	for i := range 200 {
		key := testKey(uint64(i))
		switch uid := fmt.Appendf(nil, "%0*d", 1+r.IntN(128), i); i % 4 {
		case 0:
			p = appendOpen(p, uid, &key, 1<<40+uint64(i), "phone", "chat")
		case 1:
			p = appendClose(p, uid, &key)
		case 2:
			p = appendBucket(p, itemReset, uint16(i))
		case 3:
			p = appendCheck(p, uint16(i), list{count: 3, sum: uint64(i)})
		}
		ends = append(ends, len(p))
	}
	at := 0
	for most := range len(p) + 10 {
		for at+1 < len(ends) && ends[at+1] <= most {
			at++
		}
		if got := whole(p, most); got != ends[at] {
			t.Fatalf("%d bytes of whole items in %d; want %d", got, most, ends[at])
		}
	}
	for i, rd := 0, (reader{p: p}); len(rd.p) > 0; i++ {
		it := rd.item()
		if rd.bad || it.op == itemOpen && (it.since != 1<<40+uint64(i) || string(it.class) != "phone" || it.key != testKey(uint64(i))) ||
			it.op == itemCheck && (it.bucket != uint16(i) || it.count != 3 || it.sum != uint64(i)) {
			t.Fatalf("item %d: %+v", i, it)
		}
	}
}

// FuzzAnnounced has a keeper read anything, whole and cut off everywhere.
func FuzzAnnounced(f *testing.F) {
	key := testKey(1)
	p := appendOpen(nil, []byte("u"), &key, 1, "web", "")
	p = appendCheck(appendBucket(appendClose(p, []byte("u"), &key), itemReset, 7), 9, list{count: 1})
	f.Add(appendHead(p, "i", 1))
	f.Fuzz(func(t *testing.T, p []byte) {
		for end := range len(p) + 1 {
			r := reader{p: p[:end]}
			for n := 0; len(r.p) > 0 && !r.bad; n++ {
				if it := r.item(); !r.bad && it.bucket >= Buckets {
					t.Fatalf("bucket %d", it.bucket)
				}
			}
			found := make(map[string][]Holder)
			if n, _, err := readAnswer(p[:end], []string{"a", "b"}, true, found); n > 2 || err == nil && n == 0 {
				t.Fatalf("%d answers, %v", n, err)
			}
		}
	})
}
