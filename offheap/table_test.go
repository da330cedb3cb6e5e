package offheap

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

func newTable(t testing.TB) *Table {
	t.Helper()
	tab := NewTable(new(Owner))
	t.Cleanup(tab.Close)
	return tab
}

func mustInsert(t testing.TB, tab *Table, hash, val uint32) {
	t.Helper()
	if err := tab.Insert(hash, val); err != nil {
		t.Fatal(err)
	}
}

// values returns the values that are stored with a hash, sorted.
func values(tab *Table, hash uint32) []uint32 {
	var vals []uint32
	for p := tab.Probe(hash); p.Next(); {
		vals = append(vals, p.Val())
	}
	slices.Sort(vals)
	return vals
}

func TestTableHashZeroValueZero(t *testing.T) {
	tab := newTable(t)
	if got := values(tab, 0); got != nil {
		t.Fatalf("an empty table holds %v", got)
	}
	if tab.Delete(0, 0) || tab.Replace(0, 0, 1) {
		t.Fatal("an empty table holds (0, 0)")
	}
	mustInsert(t, tab, 0, 0)
	if got := values(tab, 0); !slices.Equal(got, []uint32{0}) {
		t.Fatalf("values %v", got)
	}
	if !tab.Delete(0, 0) || tab.Len() != 0 {
		t.Fatal("(0, 0) was not deleted")
	}
}

func TestTableReservedValue(t *testing.T) {
	const reserved = ^uint32(0)
	tab := newTable(t)
	mustInsert(t, tab, 1, reserved-1)
	if err := tab.Insert(1, reserved); err == nil {
		t.Error("the reserved value was stored")
	}
	if tab.Delete(1, reserved) || tab.Replace(1, reserved, 2) || tab.Replace(1, reserved-1, reserved) {
		t.Error("the reserved value was found or put")
	}
	if got := values(tab, 1); !slices.Equal(got, []uint32{reserved - 1}) {
		t.Errorf("values %v", got)
	}
}

// A run of equal hashes that begins in the last slots continues at the front.
func TestTableRunWrapsAround(t *testing.T) {
	tab := newTable(t)
	mustInsert(t, tab, 0, 0)
	var last uint32 // a hash whose home is the last slot
	for tab.cur.home(last) != tab.cur.mask {
		last++
	}
	for val := range uint32(30) {
		mustInsert(t, tab, last, val)
	}
	mustInsert(t, tab, 0, 99) // its home is within the wrapped run
	for val := range uint32(30) {
		if !tab.Delete(last, val) {
			t.Fatalf("value %d is gone", val)
		}
		if got := values(tab, 0); !slices.Equal(got, []uint32{0, 99}) {
			t.Fatalf("after deleting %d: hash 0 has %v", val, got)
		}
		if got := len(values(tab, last)); got != 29-int(val) {
			t.Fatalf("%d of the run left, want %d", got, 29-val)
		}
	}
}

// Every operation is tried at every position of a rehash.
func TestTableDuringRehash(t *testing.T) {
	tab := newTable(t)
	rng := rand.New(rand.NewPCG(1, 2))
	var keys []uint32
	for tab.old.mask == 0 || tab.cur.slots() < 1<<15 {
		h := rng.Uint32()
		mustInsert(t, tab, h, uint32(len(keys)))
		keys = append(keys, h)
	}
	steps := 0
	for tab.old.mask != 0 {
		steps++
		if i := rng.IntN(len(keys)); true {
			if !tab.Delete(keys[i], uint32(i)) {
				t.Fatalf("key %d not found at step %d", i, steps)
			}
			mustInsert(t, tab, keys[i], uint32(i))
		}
		if steps%16 == 0 {
			for i, h := range keys {
				if !slices.Contains(values(tab, h), uint32(i)) {
					t.Fatalf("key %d not found at step %d", i, steps)
				}
			}
		}
	}
	if want := 1 << 14 / rehashStep / 2; steps < want || steps > want+1 {
		t.Fatalf("%d steps of two operations, want %d", steps, want)
	}
}

// The limit of slots for each operation keeps a shard's pauses short.
func TestTableMovesAreBounded(t *testing.T) {
	tab := newTable(t)
	for i := range uint32(200_000) {
		was, moved := tab.old.base, tab.moved
		mustInsert(t, tab, i*2654435761, i)
		if tab.old.base == was && tab.moved-moved > rehashStep {
			t.Fatalf("insert %d carried over %d slots", i, tab.moved-moved)
		}
	}
	if tab.old.mask != 0 && tab.old.slots() > tab.cur.slots() {
		t.Fatal("growing, yet the old array is the larger")
	}
}

func (tab *Table) resident(t testing.TB) int {
	n := 0
	for _, h := range []tableHalf{tab.cur, tab.old} {
		if h.mask != 0 {
			n += resident(t, h.base, h.slots()*entrySize)
		}
	}
	return n
}

func TestTableMemoryPerEntry(t *testing.T) {
	tab := newTable(t)
	rng := rand.New(rand.NewPCG(3, 4))
	worst, n := 0.0, 0
	for n < 1<<19 {
		mustInsert(t, tab, rng.Uint32(), uint32(n))
		n++
		if n >= 100_000 && n%500 == 0 {
			worst = max(worst, float64(tab.resident(t))/float64(n))
		}
	}
	t.Logf("at worst %.1f bytes an entry", worst)
	if worst > 20.5 {
		t.Errorf("%.1f bytes an entry", worst)
	}
}

func TestTableMemoryReturns(t *testing.T) {
	tab := newTable(t)
	const n = 300_000
	for i := range uint32(n) {
		mustInsert(t, tab, i*40503, i)
	}
	if got := tab.resident(t); got < n*entrySize {
		t.Fatalf("%d bytes resident for %d entries", got, n)
	}
	for i := range uint32(n) {
		if !tab.Delete(i*40503, i) {
			t.Fatalf("entry %d is gone", i)
		}
	}
	for tab.Trim() {
	}
	if got := tab.resident(t); got > tableMin*entrySize || tab.cur.slots() != tableMin {
		t.Fatalf("%d bytes, %d slots left of an emptied table", got, tab.cur.slots())
	}
	mustInsert(t, tab, 5, 6)
	if got := values(tab, 5); !slices.Equal(got, []uint32{6}) {
		t.Fatalf("values %v", got)
	}
}

func TestTableTrimFinishesRehash(t *testing.T) {
	tab := newTable(t)
	n := uint32(0)
	for ; tab.cur.slots() < 1<<18; n++ {
		mustInsert(t, tab, n*40503, n)
	}
	old, calls := tab.old.base, 1
	for tab.Trim() {
		calls++
	}
	if mapped(old) {
		t.Error("the old array is still mapped")
	}
	if want := 1 << 17 / trimStep; calls > want+1 {
		t.Errorf("%d calls, want about %d", calls, want)
	}
	for i := range n {
		if got := values(tab, i*40503); !slices.Contains(got, i) {
			t.Fatalf("entry %d is gone", i)
		}
	}
}

// A table that cannot grow is filled up to 15/16. Then Insert fails, the entries
// stay, and the table recovers when it can grow.
func TestTableCannotGrow(t *testing.T) {
	tab := newTable(t)
	tab.limit = 1024
	var err error
	n := uint32(0)
	for ; n < 2000 && err == nil; n++ {
		err = tab.Insert(n, n)
	}
	n--
	if err == nil || n != 1024-1024/16 {
		t.Fatalf("at %d entries of %d: %v", n, tab.limit, err)
	}
	if tab.Len() != int(n) || values(tab, n) != nil {
		t.Fatalf("the failed insert left something: %d entries", tab.Len())
	}
	tab.limit = tableMax
	mustInsert(t, tab, n, n)
	for i := range n + 1 {
		if got := values(tab, i); !slices.Equal(got, []uint32{i}) {
			t.Fatalf("entry %d: %v", i, got)
		}
	}
}

func TestTableDoesNotAllocate(t *testing.T) {
	tab := newTable(t)
	for i := range uint32(1000) {
		mustInsert(t, tab, i, i)
	}
	var sum uint32
	if n := testing.AllocsPerRun(100, func() {
		for p := tab.Probe(77); p.Next(); {
			sum += p.Val()
		}
		tab.Replace(77, 77, 78)
		tab.Delete(77, 78)
		_ = tab.Insert(77, 77)
		tab.Trim()
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkTable(b *testing.B) {
	for _, n := range []uint32{1000, 100_000, 1_000_000} {
		rng := rand.New(rand.NewPCG(5, 6))
		keys := make([]uint32, n)
		tab := newTable(b)
		for i := range keys {
			keys[i] = rng.Uint32()
			mustInsert(b, tab, keys[i], uint32(i))
		}
		b.Run(fmt.Sprintf("Probe/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			found := 0
			for i := uint32(0); b.Loop(); i++ {
				for p := tab.Probe(keys[i%n]); p.Next(); {
					found++
				}
			}
		})
		b.Run(fmt.Sprintf("ProbeMiss/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := uint32(0); b.Loop(); i++ {
				for p := tab.Probe(i * 2246822519); p.Next(); {
				}
			}
		})
		b.Run(fmt.Sprintf("DeleteInsert/%d", n), func(b *testing.B) {
			b.ReportAllocs()
			for i := uint32(0); b.Loop(); i++ {
				tab.Delete(keys[i%n], i%n)
				_ = tab.Insert(keys[i%n], i%n)
			}
		})
	}
}

func BenchmarkTableFill(b *testing.B) {
	b.ReportAllocs()
	tab := newTable(b)
	for i := uint32(0); b.Loop(); i++ {
		_ = tab.Insert(i*2246822519, i)
		if tab.Len() == 1<<20 {
			b.StopTimer()
			tab.Close()
			b.StartTimer()
		}
	}
}

// An empty table that gets no memory stays empty: its array has no room, and a
// look-up would never end if it were full.
func TestTableWithoutMemory(t *testing.T) {
	tab := NewTable(new(Owner))
	tab.limit = tableMin - 1
	if err := tab.Insert(1, 2); err == nil || tab.Len() != 0 || tab.none != (entry{}) {
		t.Fatalf("%v; %d entries, the stand-in holds %v", err, tab.Len(), tab.none)
	}
	for p := tab.Probe(1); p.Next(); {
		t.Fatalf("found %d", p.Val())
	}
	tab.limit = tableMax
	if err := tab.Insert(1, 2); err != nil || tab.Len() != 1 {
		t.Errorf("with memory again: %v, %d entries", err, tab.Len())
	}
	tab.Close()
}
