package offheap

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

func newVecs(t testing.TB, max int) *Vecs {
	t.Helper()
	a, err := NewVecs(new(Owner), max, 1<<24)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func grow(t testing.TB, a *Vecs, v *Vec, n int) {
	t.Helper()
	for v.Len() < n {
		if err := a.Append(v, uint32(v.Len())); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVecHeader(t *testing.T) {
	if size := unsafe.Sizeof(Vec{}); size > 16 {
		t.Errorf("the header has %d bytes", size)
	}
	if _, err := NewRecords[Vec](new(Owner), 1); err != nil {
		t.Error(err)
	}
}

// vecModel is the model of a vector.
type vecModel struct {
	vec  *Vec
	want []uint32
}

func (m *vecModel) add(t *rapid.T, a *Vecs, x uint32) {
	if err := a.Append(m.vec, x); err != nil {
		t.Fatal(err)
	}
	m.want = append(m.want, x)
}

func (m *vecModel) remove(t *rapid.T, a *Vecs, i int) {
	last := len(m.want) - 1
	moved, ok := a.SwapRemove(m.vec, i)
	if ok != (i < last) || ok && moved != m.want[last] {
		t.Fatalf("SwapRemove(%d) of %d = %d, %v", i, last+1, moved, ok)
	}
	m.want[i] = m.want[last]
	m.want = m.want[:last]
}

// removeBeyond removes entries that do not exist.
func (m *vecModel) removeBeyond(t *rapid.T, a *Vecs) {
	for _, i := range []int{-1, len(m.want), 1 << 40} {
		if _, ok := a.SwapRemove(m.vec, i); ok {
			t.Fatalf("SwapRemove(%d) of %d", i, len(m.want))
		}
	}
}

func (m *vecModel) set(t *rapid.T, a *Vecs, i int, x uint32) {
	a.Set(m.vec, i, x)
	m.want[i] = x
	if got := a.Get(m.vec, i); got != x {
		t.Fatalf("Get = %d after Set(%d)", got, x)
	}
}

// checkStorage checks how much storage the vectors of the models have.
func checkStorage(t *rapid.T, a *Vecs, models []*vecModel) {
	small, mapped := 0, 0
	for _, m := range models {
		m.check(t, a)
		if m.vec.cap > vecSmall {
			mapped += int(m.vec.cap) * 4
		} else if m.vec.cap > 0 {
			small++
		}
	}
	if a.Len() != small || a.mapped != mapped {
		t.Fatalf("Len %d, %d bytes mapped; want %d, %d", a.Len(), a.mapped, small, mapped)
	}
}

func (m *vecModel) check(t *rapid.T, a *Vecs) {
	if got := a.Slice(m.vec); !slices.Equal(got, m.want) || cap(got) != len(got) || m.vec.Len() != len(m.want) {
		t.Fatalf("%d entries (cap %d), want %d; equal: %v", len(got), cap(got), len(m.want), slices.Equal(got, m.want))
	}
	n, c := int(m.vec.n), int(m.vec.cap)
	if c != 0 && (n == 0 || n > c || c > vecMin && n < c/4) || c == 0 && n != 0 {
		t.Fatalf("%d entries in room for %d", n, c)
	}
}

func TestVecsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		headers, err := NewRecords[Vec](new(Owner), 3)
		if err != nil {
			t.Fatal(err)
		}
		defer headers.Close()
		a, err := NewVecs(new(Owner), 3, 1<<24)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		models := make([]*vecModel, 3)
		for i := range models {
			slot, _ := headers.Alloc()
			models[i] = &vecModel{vec: headers.At(slot)}
			defer a.Free(models[i].vec)
		}
		one := func(t *rapid.T) *vecModel { return models[rapid.IntRange(0, 2).Draw(t, "vec")] }
		seq := uint32(0)
		next := func() uint32 { seq++; return seq }
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) { one(t).add(t, a, next()) },
			"appendMany": func(t *rapid.T) {
				m := one(t)
				for range rapid.IntRange(1, 3000).Draw(t, "n") {
					m.add(t, a, next())
				}
			},
			"remove": func(t *rapid.T) {
				if m := one(t); len(m.want) > 0 {
					m.remove(t, a, rapid.IntRange(0, len(m.want)-1).Draw(t, "i"))
				}
			},
			"removeMany": func(t *rapid.T) {
				m := one(t)
				for range rapid.IntRange(1, 3000).Draw(t, "n") {
					if len(m.want) > 0 {
						m.remove(t, a, int(seq)%len(m.want))
					}
				}
			},
			"removeBeyond": func(t *rapid.T) { one(t).removeBeyond(t, a) },
			"set": func(t *rapid.T) {
				if m := one(t); len(m.want) > 0 {
					m.set(t, a, rapid.IntRange(0, len(m.want)-1).Draw(t, "i"), ^seq)
				}
			},
			"free": func(t *rapid.T) {
				m := one(t)
				a.Free(m.vec)
				m.want = nil
			},
			"trim": func(t *rapid.T) { a.Trim() },
			"":     func(t *rapid.T) { checkStorage(t, a, models) },
		})
	})
}

func TestVecsErrors(t *testing.T) {
	for _, n := range []int{0, -1, 1<<28 + 1} {
		if _, err := NewVecs(new(Owner), n, 1<<24); err == nil {
			t.Errorf("NewVecs(new(Owner), %d) succeeded", n)
		}
	}
	a := newVecs(t, 1)
	var v, w Vec
	grow(t, a, &v, vecMin)
	grow(t, a, &v, vecMin+1) // frees its first storage
	grow(t, a, &w, vecMin)
	err := a.Append(&w, 9)
	if err == nil || !strings.Contains(err.Error(), "full") {
		t.Fatalf("second vector of a class for one: %v", err)
	}
	if got := a.Slice(&w); !slices.Equal(got, []uint32{0, 1, 2, 3}) {
		t.Fatalf("the failed Append left %v", got)
	}
	// v cannot shrink either, and stays where it is.
	for v.Len() > 1 {
		a.SwapRemove(&v, v.Len()-1)
	}
	if got := a.Slice(&v); !slices.Equal(got, []uint32{0}) || v.cap != 2*vecMin {
		t.Fatalf("%v in room for %d", got, v.cap)
	}
}

func TestVecTooLarge(t *testing.T) {
	a := newVecs(t, 1)
	v := Vec{n: vecMax, cap: vecMax}
	if err := a.Append(&v, 1); err == nil || v.Len() != vecMax {
		t.Fatalf("Append to %d entries: %v", v.Len(), err)
	}
}

func TestVecsMemoryReturns(t *testing.T) {
	a := newVecs(t, 100_000)
	vecs := make([]Vec, 20_000)
	for i := range vecs {
		grow(t, a, &vecs[i], i%600+1)
	}
	full := a.region.resident(t)
	for i := range vecs {
		for vecs[i].Len() > 0 {
			a.SwapRemove(&vecs[i], 0)
		}
	}
	for a.Trim() > 0 {
	}
	left, blocks := a.region.resident(t), 0
	for i := range a.slabs {
		blocks += int(a.slabs[i].stride) << a.slabs[i].blockShift
	}
	if left > blocks || full < 20*blocks || a.Len() != 0 || a.mapped != 0 {
		t.Errorf("%d of %d bytes resident without vectors, one block of each class is %d; %d, %d", left, full, blocks, a.Len(), a.mapped)
	}
}

func TestLargeVecCostsWhatItHolds(t *testing.T) {
	a := newVecs(t, 1)
	var v Vec
	defer a.Free(&v)
	const n = 1<<20 + 1
	grow(t, a, &v, n)
	page := os.Getpagesize()
	if got := resident(t, unsafe.Pointer(a.at(&v, 0)), int(v.cap)*4); got > n*4+page {
		t.Errorf("%d bytes resident for %d entries", got, n)
	}
	for v.Len() > 1000 {
		a.SwapRemove(&v, 0)
	}
	storage := unsafe.Pointer(a.at(&v, 0))
	if a.mapped > 4*4*1000*2 {
		t.Errorf("%d bytes mapped for %d entries", a.mapped, v.Len())
	}
	a.Free(&v)
	if mapped(storage) || a.mapped != 0 {
		t.Errorf("still mapped after Free, Mapped %d", a.mapped)
	}
}

func TestVecsDoNotAllocate(t *testing.T) {
	a := newVecs(t, 100)
	var v Vec
	defer a.Free(&v)
	sum := uint32(0)
	if got := testing.AllocsPerRun(20, func() {
		for i := range uint32(3000) {
			_ = a.Append(&v, i)
		}
		for _, x := range a.Slice(&v) {
			sum += x
		}
		sum += a.Get(&v, 7)
		for v.Len() > 0 {
			a.SwapRemove(&v, 0)
		}
	}); got != 0 {
		t.Fatalf("%v allocations", got)
	}
}

func BenchmarkVecsAppendRemove(b *testing.B) {
	for _, n := range []int{1, 100, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			a := newVecs(b, 1000)
			var v Vec
			grow(b, a, &v, n)
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				_ = a.Append(&v, 1)
				a.SwapRemove(&v, i%n)
			}
			a.Free(&v)
		})
	}
}

func BenchmarkVecsGrow(b *testing.B) {
	a := newVecs(b, 10)
	b.ReportAllocs()
	var v Vec
	for b.Loop() {
		_ = a.Append(&v, 1)
		if v.Len() == 100_000 {
			a.Free(&v)
		}
	}
	a.Free(&v)
}

// Large classes have room for as many vectors as the entries allow, and all entries
// fit, however they are distributed.
func TestVecsReserve(t *testing.T) {
	const entries = 10_000
	few, err := NewVecs(new(Owner), entries, entries)
	if err != nil {
		t.Fatal(err)
	}
	defer few.Close()
	many, err := NewVecs(new(Owner), entries, entries*vecSmall)
	if err != nil {
		t.Fatal(err)
	}
	defer many.Close()
	if few.region.size*8 > many.region.size {
		t.Errorf("%d bytes of address space; %d with room for every vector in every class", few.region.size, many.region.size)
	}
	for _, length := range []int{1, 4, 5, 33, 129, 257} {
		vecs := make([]Vec, entries/length)
		for i := range vecs {
			for range length {
				if err := few.Append(&vecs[i], 1); err != nil {
					t.Fatalf("vector %d of %d entries: %v", i, length, err)
				}
			}
		}
		for i := range vecs { // down to where the capacity is almost halved
			for v := &vecs[i]; v.n > v.cap/4 && v.n > 1; {
				few.SwapRemove(v, 0)
			}
		}
		for i := range vecs {
			few.Free(&vecs[i])
		}
	}
}
