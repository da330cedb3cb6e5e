package session

import (
	"math"
	"testing"
	"time"

	"belfry/poller"
)

// records returns how many records the grants of a shard hold of each kind.
func (g *grants) records() [4]int {
	return [4]int{g.all.Len(), g.lists.Len(), g.limits.Len(), g.blobs.strs.Len()}
}

// What a grant replaces is freed, and what does not find room leaves nothing behind:
// else a session that renews its credentials for days fills the tables of its shard.
func TestReplacedGrantsAreFreed(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), MaxPending: 1})
	r.on(0, func(h *shard) {
		g, rec := &h.grants, new(record)
		check := func(what string, want [4]int) {
			if n := g.records(); n != want {
				t.Errorf("%s: %v records, want %v", what, n, want)
			}
		}
		full := func(name string) *Grant {
			return &Grant{Subscribe: []string{name}, Meta: []byte(`{"name":"` + name + `"}`), Limits: SessionLimits{Topics: 7}}
		}
		for _, name := range []string{"a", "b", "c"} {
			if err := g.put(rec, full(name)); err != nil {
				t.Error(err)
			}
			check("a grant", [4]int{1, 1, 1, 2})
		}
		for _, meta := range []string{`{"n":1}`, `{"n":2}`} {
			if err := g.setMeta(rec, []byte(meta)); err != nil || string(g.meta(rec)) != meta {
				t.Errorf("%s: %q, %v", meta, g.meta(rec), err)
			}
			check("meta data", [4]int{1, 1, 1, 2})
		}
		used := 0
		for ok := true; ok; used++ {
			_, ok = g.limits.Alloc()
		}
		if err := g.put(rec, full("d")); err != errNoRoom || string(g.meta(rec)) != `{"n":2}` {
			t.Errorf("without room: %v, meta data %s", err, g.meta(rec))
		}
		check("a grant without room", [4]int{1, 1, used, 2})
		g.drop(rec)
		check("no grant", [4]int{0, 0, used - 1, 0})
	})
}

// Times are kept in 32 bits: what is before or after becomes the nearest, and not 0,
// which stands for never.
func TestUnixSeconds(t *testing.T) {
	for want, at := range map[uint32]time.Time{
		0: {}, 1: time.Unix(-5, 0), 1000: time.Unix(1000, 5e8), math.MaxUint32: time.Unix(math.MaxUint32+1, 0),
	} {
		if s := unixSeconds(at); s != want {
			t.Errorf("%v: %d, want %d", at, s, want)
		}
	}
}

// A mark needs a place in the queues of two shards: if the second has none, the place
// in the first is given back.
func TestPlacesOfAMarkAreGivenBack(t *testing.T) {
	r := newRig(t, Options{Poller: poller.Options{Shards: 2, Mailbox: 64}})
	full := r.shards[1].ps
	taken := 0
	for full.Reserve(poller.QueueBulk) {
		taken++
	}
	for range 2 * taken {
		if reserveBulk(r.shards) {
			t.Fatal("a place in a full queue")
		}
	}
	if fill := r.shards[0].ps.Fill(poller.QueueBulk); fill != 0 {
		t.Errorf("%.0f %% of the places are taken", 100*fill)
	}
	full.Release(poller.QueueBulk, taken)
	if !reserveBulk(r.shards) {
		t.Fatal("no place")
	}
	for _, h := range r.shards {
		h.ps.Release(poller.QueueBulk, 1)
	}
}
