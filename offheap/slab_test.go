package offheap

import (
	"fmt"
	"os"
	"slices"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

func newSlab(t testing.TB, stride, max int) *Slab {
	t.Helper()
	s, err := NewSlab(new(Owner), stride, max)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func (s *Slab) record(slot uint32) []byte {
	return unsafe.Slice((*byte)(s.Ptr(slot)), s.stride)
}

func fill(b []byte, x byte) {
	for i := range b {
		b[i] = x
	}
}

// slabModel is the model of a slab: a set of slots, each with the byte with which
// its record is filled.
type slabModel struct {
	slab *Slab
	max  int
	live map[uint32]byte
	next byte
}

func (m *slabModel) lowestFree() uint32 {
	for slot := uint32(0); ; slot++ {
		if _, ok := m.live[slot]; !ok {
			return slot
		}
	}
}

func (m *slabModel) sorted() []uint32 {
	var all []uint32
	for slot := range m.live {
		all = append(all, slot)
	}
	slices.Sort(all)
	return all
}

func (m *slabModel) took(t *rapid.T, slot uint32) {
	rec := m.slab.record(slot)
	for i, b := range rec {
		if b != 0 {
			t.Fatalf("slot %d byte %d of a new record is %#x", slot, i, b)
		}
	}
	m.next = m.next%255 + 1
	fill(rec, m.next)
	m.live[slot] = m.next
}

func (m *slabModel) alloc(t *rapid.T) {
	slot, ok := m.slab.Alloc()
	if want := len(m.live) < m.max; ok != want {
		t.Fatalf("Alloc ok = %v with %d of %d live", ok, len(m.live), m.max)
	}
	if !ok {
		return
	}
	if want := m.lowestFree(); slot != want {
		t.Fatalf("Alloc = %d, lowest free is %d", slot, want)
	}
	m.took(t, slot)
}

func (m *slabModel) free(t *rapid.T, slot uint32) {
	if x, ok := m.live[slot]; ok {
		for i, b := range m.slab.record(slot) {
			if b != x {
				t.Fatalf("slot %d byte %d changed from %#x to %#x", slot, i, x, b)
			}
		}
	}
	m.slab.Free(slot)
	delete(m.live, slot)
}

func (m *slabModel) check(t *rapid.T) {
	sorted := m.sorted()
	if m.slab.Len() != len(sorted) {
		t.Fatalf("Len = %d, want %d", m.slab.Len(), len(sorted))
	}
	if high, ok := m.slab.bits.highest(); ok != (len(sorted) > 0) || ok && high != sorted[len(sorted)-1] {
		t.Fatalf("highest = %d, %v; live are %d slots", high, ok, len(sorted))
	}
	var walked []uint32
	for slot, ok := m.slab.Next(0); ok; slot, ok = m.slab.Next(slot + 1) {
		walked = append(walked, slot)
	}
	if !slices.Equal(walked, sorted) {
		t.Fatalf("Next walks %v, live are %v", walked, sorted)
	}
	probe := uint32(rapid.IntRange(0, m.max+200).Draw(t, "probe"))
	if _, want := m.live[probe]; m.slab.Live(probe) != want {
		t.Fatalf("Live(%d) = %v", probe, !want)
	}
	at, _ := slices.BinarySearch(sorted, probe)
	slot, ok := m.slab.Next(probe)
	if ok != (at < len(sorted)) || ok && slot != sorted[at] {
		t.Fatalf("Next(%d) = %d, %v; live are %v", probe, slot, ok, sorted)
	}
}

func TestSlabAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		stride := rapid.SampledFrom([]int{8, 12, 60, 128, 132, 256, 1000, 2048}).Draw(t, "stride")
		max := rapid.SampledFrom([]int{1, 2, 63, 64, 65, 700, 4095, 4097}).Draw(t, "max")
		s, err := NewSlab(new(Owner), stride, max)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		m := &slabModel{slab: s, max: max, live: map[uint32]byte{}}
		slots := rapid.IntRange(0, max+70)
		t.Repeat(map[string]func(*rapid.T){
			"alloc": m.alloc,
			"allocMany": func(t *rapid.T) {
				for range rapid.IntRange(1, 300).Draw(t, "n") {
					m.alloc(t)
				}
			},
			"allocAt": func(t *rapid.T) {
				slot := uint32(slots.Draw(t, "slot"))
				_, taken := m.live[slot]
				if ok := s.AllocAt(slot); ok != (!taken && int(slot) < max) {
					t.Fatalf("AllocAt(%d) = %v", slot, ok)
				} else if ok {
					m.took(t, slot)
				}
			},
			"free": func(t *rapid.T) { m.free(t, uint32(slots.Draw(t, "slot"))) },
			"freeRange": func(t *rapid.T) {
				a, b := slots.Draw(t, "a"), slots.Draw(t, "b")
				for slot := a; slot < b; slot++ {
					m.free(t, uint32(slot))
				}
			},
			"trim": func(t *rapid.T) { s.Trim() },
			"":     m.check,
		})
	})
}

func TestSlabFreeOfDeadSlotDoesNothing(t *testing.T) {
	s := newSlab(t, 64, 10)
	s.Free(3)
	s.Free(1 << 31)
	slot, _ := s.Alloc()
	s.Free(slot)
	s.Free(slot)
	if s.Len() != 0 {
		t.Fatalf("Len = %d", s.Len())
	}
}

func TestSlabErrors(t *testing.T) {
	for _, c := range []struct{ stride, max int }{
		{0, 1}, {4, 1}, {10, 1}, {-8, 1}, {2 << 20, 1}, {8, 0}, {8, -1}, {8, MaxRecords + 1},
	} {
		if _, err := NewSlab(new(Owner), c.stride, c.max); err == nil {
			t.Errorf("NewSlab(new(Owner), %d, %d) succeeded", c.stride, c.max)
		}
	}
}

func TestSlabReservesWithoutPaying(t *testing.T) {
	s := newSlab(t, 128, 4<<20)
	if got := s.region.resident(t); got != 0 {
		t.Fatalf("%d bytes resident in an empty slab", got)
	}
	for range 10 {
		slot, _ := s.Alloc()
		s.record(slot)[0] = 1
	}
	if got := s.region.resident(t); got != os.Getpagesize() {
		t.Fatalf("%d bytes resident for ten records", got)
	}
	if n := cap(s.bits.live); n > 64 {
		t.Fatalf("bitmap has %d words for ten records", n)
	}
}

func TestSlabTrimReturnsMemory(t *testing.T) {
	for _, stride := range []int{128, 132, 200} {
		t.Run(fmt.Sprint(stride), func(t *testing.T) {
			const n = 100_000
			s := newSlab(t, stride, 1<<20)
			for range n {
				slot, _ := s.Alloc()
				fill(s.record(slot), 0xff)
			}
			full := s.region.resident(t)
			if full < n*stride {
				t.Fatalf("%d bytes resident for %d records of %d", full, n, stride)
			}
			for slot := range uint32(n) {
				s.Free(slot)
			}
			released, calls := 0, 0
			for got := s.Trim(); got > 0; got = s.Trim() {
				if block := stride << s.blockShift; got > trimBytes+block {
					t.Fatalf("one Trim released %d bytes", got)
				}
				released += got
				calls++
			}
			left := s.region.resident(t)
			block := stride << s.blockShift
			// The last block was used in part, and is counted completely.
			if left > block || released < full-left || released > full-left+block {
				t.Fatalf("%d bytes left of %d after %d released (block %d)", left, full, released, block)
			}
			if calls < full/trimBytes {
				t.Fatalf("%d calls for %d bytes", calls, full)
			}
			slot, ok := s.Alloc()
			if !ok || slot != 0 {
				t.Fatalf("Alloc = %d, %v", slot, ok)
			}
		})
	}
}

// One client that comes and goes at the edge of a block must not make every Trim
// give back a page that the next Alloc uses again.
func TestSlabTrimKeepsOneBlock(t *testing.T) {
	s := newSlab(t, 64, 1000)
	for range 65 {
		s.Alloc()
	}
	for range 3 {
		s.Free(64)
		if got := s.Trim(); got != 0 {
			t.Fatalf("Trim released %d bytes of the only empty block", got)
		}
		s.Alloc()
	}
}

func TestSlabTrimSkipsBlocksInUse(t *testing.T) {
	for _, stride := range []int{8, 12, 64, 132, 200} {
		shift := blockShift(stride)
		for name, survivor := range map[string]uint32{"first": 0, "middle": 1 << (shift - 1), "last": 1<<shift - 1} {
			t.Run(fmt.Sprintf("%d/%s", stride, name), func(t *testing.T) {
				const blocks = 30
				s := newSlab(t, stride, blocks<<shift)
				for range blocks << shift {
					slot, _ := s.Alloc()
					fill(s.record(slot), 1)
				}
				// A record stays in each third block.
				for slot := range uint32(blocks << shift) {
					if slot>>shift%3 != 0 || slot&(1<<shift-1) != survivor {
						s.Free(slot)
					}
				}
				for s.Trim() > 0 {
				}
				for slot, ok := s.Next(0); ok; slot, ok = s.Next(slot + 1) {
					if s.record(slot)[0] != 1 {
						t.Fatalf("slot %d was in a block that Trim released", slot)
					}
				}
				if got, want := s.region.resident(t), (blocks/3+1)*stride<<shift; got != want {
					t.Fatalf("%d bytes resident, want %d", got, want)
				}
			})
		}
	}
}

func TestSlabDoesNotAllocate(t *testing.T) {
	s := newSlab(t, 128, 1000)
	for range 100 {
		s.Alloc()
	}
	s.Free(50)
	var sum int
	if n := testing.AllocsPerRun(100, func() {
		slot, _ := s.Alloc()
		if s.Live(slot) {
			sum += int(s.record(slot)[0])
		}
		next, _ := s.Next(slot + 1)
		sum += int(next)
		s.Free(slot)
		s.Trim()
	}); n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkSlabAllocFree(b *testing.B) {
	s := newSlab(b, 128, 1<<22)
	for range 100_000 {
		s.Alloc()
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		s.Free(uint32(i*7919) % 100_000)
		s.Alloc()
	}
}

func BenchmarkSlabNext(b *testing.B) {
	for _, every := range []uint32{1, 10, 1000} {
		b.Run(fmt.Sprintf("oneLiveIn%d", every), func(b *testing.B) {
			s := newSlab(b, 8, 1<<20)
			for range 1 << 20 {
				s.Alloc()
			}
			for slot := range uint32(1 << 20) {
				if slot%every != 0 {
					s.Free(slot)
				}
			}
			b.ReportAllocs()
			at := uint32(0)
			for b.Loop() {
				slot, ok := s.Next(at)
				at = slot + 1
				if !ok {
					at = 0
				}
			}
		})
	}
}

func BenchmarkSlabPtr(b *testing.B) {
	s := newSlab(b, 128, 1<<16)
	for range 1 << 16 {
		s.Alloc()
	}
	var sum uint32
	b.ReportAllocs()
	for i := uint32(0); b.Loop(); i++ {
		if slot := i & 0xffff; s.Live(slot) {
			sum += *(*uint32)(s.Ptr(slot))
		}
	}
	_ = sum
}

func BenchmarkSlabTrim(b *testing.B) {
	s := newSlab(b, 128, 1<<16)
	n := trimBytes/128 + 64
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		for range n {
			slot, _ := s.Alloc()
			*(*uint32)(s.Ptr(slot)) = 1
		}
		for slot := range uint32(n) {
			s.Free(slot)
		}
		b.StartTimer()
		if s.Trim() != trimBytes {
			b.Fatal("not one full Trim")
		}
	}
}
