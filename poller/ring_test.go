package poller

import (
	"runtime"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

func TestRingAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 9).Draw(t, "size")
		r := newRing(n)
		size := len(r.cells)
		if size < n || size > max(2, 2*n-1) {
			t.Fatalf("%d cells for %d items", size, n)
		}
		var model []uint64
		next := uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"push": func(t *rapid.T) {
				ok := r.push(Mail{ID: next})
				if ok != (len(model) < size) {
					t.Fatalf("push gives %v with %d of %d cells taken", ok, len(model), size)
				}
				if ok {
					model = append(model, next)
					next++
				}
			},
			"pop": func(t *rapid.T) {
				m, ok := r.pop()
				if ok != (len(model) > 0) || ok && m.ID != model[0] {
					t.Fatalf("pop gives %d, %v; want the first of %v", m.ID, ok, model)
				}
				if ok {
					model = model[1:]
				}
			},
		})
	})
}

// A ring must not keep an item alive that was taken out.
func TestRingForgets(t *testing.T) {
	r := newRing(4)
	for range 9 {
		r.push(Mail{Ptr: new(int)})
		r.pop()
	}
	for i := range r.cells {
		if r.cells[i].mail != (Mail{}) {
			t.Errorf("cell %d holds %v", i, r.cells[i].mail)
		}
	}
}

// With many producers on a ring of a few cells, no item is lost or doubled, and the
// items of one producer come in order.
func TestRingManyProducers(t *testing.T) {
	const producers = 8
	each := uint64(20_000)
	if raceDetector {
		each = 4_000
	}
	r := newRing(4)
	var wg sync.WaitGroup
	for p := range uint32(producers) {
		wg.Go(func() {
			for i := range each {
				for !r.push(Mail{Kind: p, ID: i}) {
					runtime.Gosched()
				}
			}
		})
	}
	var next [producers]uint64
	for got := uint64(0); got < producers*each; {
		m, ok := r.pop()
		if !ok {
			runtime.Gosched()
			continue
		}
		if m.ID != next[m.Kind] {
			t.Fatalf("producer %d: got %d, want %d", m.Kind, m.ID, next[m.Kind])
		}
		next[m.Kind]++
		got++
	}
	wg.Wait()
	if m, ok := r.pop(); ok {
		t.Errorf("one too many: %v", m)
	}
}
