package offheap

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

// usedBlocks returns the bytes of the blocks of a slab in which the kernel keeps a
// page.
func usedBlocks(t testing.TB, s *Slab) (bytes int) {
	size := s.block()
	for at := 0; at < int(s.max)*int(s.stride); at += size {
		if resident(t, unsafe.Add(s.base, at), size) > 0 {
			bytes += size
		}
	}
	return bytes
}

// A slab's owner counts the blocks for which the kernel keeps pages, whatever is
// allocated, freed and trimmed.
func TestSlabIsCounted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		stride := rapid.SampledFrom([]int{8, 24, 64, 88, 4096}).Draw(rt, "stride")
		blocks := rapid.IntRange(1, 6).Draw(rt, "blocks")
		limit := blocks << blockShift(stride)
		var owner Owner
		s, err := NewSlab(&owner, stride, limit)
		if err != nil {
			rt.Fatal(err)
		}
		rt.Repeat(map[string]func(*rapid.T){
			"": func(rt *rapid.T) {
				if got, want := owner.Bytes(), usedBlocks(t, s); got != int64(want) {
					rt.Fatalf("%d bytes are counted, the kernel keeps %d", got, want)
				}
			},
			"come": func(rt *rapid.T) {
				for range rapid.IntRange(1, limit).Draw(rt, "n") {
					if slot, ok := s.Alloc(); ok {
						*(*uint32)(s.Ptr(slot)) = 1
					}
				}
			},
			"place": func(rt *rapid.T) {
				if slot := rapid.Uint32Range(0, uint32(limit)-1).Draw(rt, "slot"); s.AllocAt(slot) {
					*(*uint32)(s.Ptr(slot)) = 1
				}
			},
			"go": func(rt *rapid.T) {
				from := rapid.Uint32Range(0, uint32(limit)-1).Draw(rt, "from")
				for slot := from; slot < uint32(limit); slot++ {
					s.Free(slot)
				}
			},
			"trim": func(*rapid.T) { s.Trim() },
		})
		s.Close()
		if n := owner.Bytes(); n != 0 {
			rt.Fatalf("%d bytes are counted after Close", n)
		}
	})
}

// crowd is the containers of one shard.
type crowd struct {
	slab    *Slab
	table   *Table
	strs    *Strs
	vecs    *Vecs
	vec     Vec
	buffers Buffers
	buffer  []byte
	mapped  bool
}

func newCrowd(t testing.TB, memory *Owners) *crowd {
	c := &crowd{table: NewTable(memory.Owner("table")), buffers: NewBuffers(memory.Owner("buffers"), 1)}
	errs := make([]error, 3)
	c.slab, errs[0] = NewSlab(memory.Owner("slab"), 88, 1<<16)
	c.strs, errs[1] = NewStrs(memory.Owner("strs"), 1<<16)
	c.vecs, errs[2] = NewVecs(memory.Owner("vecs"), 1<<16, 1<<20)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	return c
}

// fill puts n items into each container.
func (c *crowd) fill(t testing.TB, n int) {
	for i := range n {
		slot, _ := c.slab.Alloc()
		*(*uint32)(c.slab.Ptr(slot)) = 1
		if err := c.table.Insert(uint32(i)*0x9E3779B1, slot); err != nil {
			t.Fatal(err)
		}
		if _, err := c.strs.Put(fmt.Appendf(nil, "%0*d", 1+i%MaxStr, i)); err != nil {
			t.Fatal(err)
		}
		if err := c.vecs.Append(&c.vec, slot); err != nil {
			t.Fatal(err)
		}
	}
	c.buffer, c.mapped = c.buffers.Grow(c.buffer, c.mapped, mappedBuffer+cap(c.buffer))
	clear(c.buffer[:cap(c.buffer)])
}

// empty removes all items.
func (c *crowd) empty() {
	for i := c.table.Len() - 1; i >= 0; i-- {
		c.slab.Free(uint32(i))
		c.table.Delete(uint32(i)*0x9E3779B1, uint32(i))
		c.vecs.SwapRemove(&c.vec, i)
	}
	for i := range c.strs.slabs {
		s := &c.strs.slabs[i]
		for slot, ok := s.Next(0); ok; slot, ok = s.Next(slot + 1) {
			s.Free(slot)
		}
	}
	c.buffers.Free(c.buffer, c.mapped)
	c.buffer, c.mapped = nil, false
	for c.table.Trim() || c.slab.Trim()+c.strs.Trim()+c.vecs.Trim() > 0 {
	}
}

func (c *crowd) close() {
	c.vecs.Free(&c.vec)
	c.buffers.Free(c.buffer, c.mapped)
	c.slab.Close()
	c.table.Close()
	c.strs.Close()
	c.vecs.Close()
}

// resident returns the bytes that the kernel keeps for the containers, and how much
// more may be counted at most, by owner.
func (c *crowd) resident(t testing.TB) (kept, slack map[string]int) {
	slabs := func(all []Slab) (bytes, blocks int) {
		for i := range all {
			if s := &all[i]; s.max > 0 {
				bytes += resident(t, s.base, int(s.max)*int(s.stride))
				blocks += s.block()
			}
		}
		return bytes, blocks
	}
	kept, slack = map[string]int{}, map[string]int{}
	kept["slab"], slack["slab"] = slabs([]Slab{*c.slab})
	kept["strs"], slack["strs"] = slabs(c.strs.slabs[:])
	kept["vecs"], slack["vecs"] = slabs(c.vecs.slabs[:])
	if c.vec.cap > vecSmall {
		kept["vecs"] += resident(t, unsafe.Pointer(c.vecs.at(&c.vec, 0)), int(c.vec.cap)*4)
		slack["vecs"] += int(c.vec.cap) * 4
	}
	for _, h := range []*tableHalf{&c.table.cur, &c.table.old} {
		if h.mask != 0 {
			kept["table"] += resident(t, h.base, h.slots()*entrySize)
			slack["table"] += h.slots() * entrySize
		}
	}
	if c.mapped {
		kept["buffers"] = resident(t, unsafe.Pointer(unsafe.SliceData(c.buffer)), cap(c.buffer))
	}
	return kept, slack
}

// Owners count the containers of two shards: never less than the resident bytes,
// more only by partly used blocks, and nothing when all are closed.
func TestOwnersCountWhatIsHeld(t *testing.T) {
	var memory Owners
	shards := []*crowd{newCrowd(t, &memory), newCrowd(t, &memory)}
	check := func(when string) {
		t.Helper()
		counted := memory.Bytes()
		kept, most := map[string]int{}, map[string]int{}
		for _, c := range shards {
			k, slack := c.resident(t)
			for owner, n := range k {
				kept[owner] += n
				most[owner] += n + slack[owner]
			}
		}
		for _, owner := range []string{"slab", "table", "strs", "vecs", "buffers"} {
			n, ok := counted[owner]
			if !ok || n < int64(kept[owner]) || n > int64(max(most[owner], kept[owner])) {
				t.Errorf("%s: %s: %d bytes are counted, %d are resident, at most %d are held", when, owner, n, kept[owner], most[owner])
			}
		}
		if len(counted) != 5 {
			t.Errorf("%s: the owners are %v", when, counted)
		}
	}
	check("new")
	for _, n := range []int{1, 100, 2000, 20_000} {
		for _, c := range shards {
			c.fill(t, n)
			check(fmt.Sprintf("filled with %d", n))
			if n < 20_000 {
				c.empty()
				check(fmt.Sprintf("emptied of %d", n))
			}
		}
	}
	shards[0].close()
	before := memory.Bytes()
	shards[1].close()
	for owner, n := range memory.Bytes() {
		if n != 0 || before[owner] == 0 {
			t.Errorf("%s: %d bytes are counted after Close, %d while one shard had some", owner, n, before[owner])
		}
	}
}

// During a rehash a table counts the part of the old array that is left.
func TestTableCountsBothArrays(t *testing.T) {
	var owner Owner
	tab := NewTable(&owner)
	defer tab.Close()
	full, rehashed := 0, false
	for i := range uint32(100_000) {
		if err := tab.Insert(i*0x9E3779B1, i); err != nil {
			t.Fatal(err)
		}
		want := tab.cur.slots() * entrySize
		if tab.old.mask == 0 {
			full = want
			if owner.Bytes() != int64(want) {
				t.Fatalf("%d bytes are counted for %d slots", owner.Bytes(), tab.cur.slots())
			}
			continue
		}
		left := owner.Bytes() - int64(want)
		if left < 0 || left > int64(full) {
			t.Fatalf("%d bytes are counted of an old array of %d", left, full)
		}
		rehashed = rehashed || left < int64(full)
	}
	if !rehashed {
		t.Error("the old array never became smaller")
	}
}

// Memory without an owner, which the metrics would not show, is refused.
func TestMemoryHasAnOwner(t *testing.T) {
	_, slab := NewSlab(nil, 8, 1)
	_, strs := NewStrs(nil, 1)
	_, vecs := NewVecs(nil, 1, 1)
	_, records := NewRecords[uint64](nil, 1)
	for what, err := range map[string]error{"slab": slab, "strings": strs, "vectors": vecs, "records": records, "table": NewTable(nil).Insert(1, 1)} {
		if !errors.Is(err, errNoOwner) {
			t.Errorf("%s: %v", what, err)
		}
	}
	m := NewBuffers(nil, 1)
	if _, mapped := m.Grow(nil, false, mappedBuffer); mapped {
		t.Error("a buffer is a mapping without an owner")
	}
}

// Without Owners nothing is counted, and everything works.
func TestNoOwners(t *testing.T) {
	var none *Owners
	c := newCrowd(t, none)
	c.fill(t, 1000)
	c.close()
	if none.Bytes() != nil {
		t.Error("bytes without an owner")
	}
}

// Owners may be asked for and read while other goroutines count.
func TestOwnersOnManyGoroutines(t *testing.T) {
	var memory Owners
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			owner := memory.Owner("one")
			for range 100_000 {
				owner.Add(3)
				owner.Add(-2)
			}
			memory.Bytes()
		})
	}
	all.Wait()
	if n := memory.Bytes()["one"]; n != 400_000 {
		t.Errorf("%d bytes, want 400000", n)
	}
}
