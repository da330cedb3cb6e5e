package offheap

import (
	"testing"

	"pgregory.net/rapid"
)

func TestIndexAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var x Index[*int]
		model := map[uint32]*int{}
		some := func(t *rapid.T) (uint32, bool) {
			if len(model) == 0 {
				return 0, false
			}
			i := rapid.Uint32Range(1, 80).Draw(t, "number")
			_, ok := model[i]
			return i, ok
		}
		t.Repeat(map[string]func(*rapid.T){
			"": func(t *rapid.T) { checkIndex(t, &x, model) },
			"put": func(t *rapid.T) {
				v := new(int)
				i := x.Put(v)
				for low := uint32(1); low < i; low++ {
					if model[low] == nil {
						t.Fatalf("got number %d, %d is free", i, low)
					}
				}
				if model[i] != nil || i == 0 {
					t.Fatalf("got number %d, which is in use or 0", i)
				}
				model[i] = v
			},
			"set": func(t *rapid.T) {
				if i, ok := some(t); ok {
					model[i] = new(int)
					x.Set(i, model[i])
				}
			},
			"drop": func(t *rapid.T) {
				if i, ok := some(t); ok {
					x.Drop(i)
					delete(model, i)
				}
			},
		})
	})
}

// checkIndex compares an index with its model.
func checkIndex(t *rapid.T, x *Index[*int], model map[uint32]*int) {
	if x.Len() != len(model) {
		t.Fatalf("%d values, want %d", x.Len(), len(model))
	}
	high := uint32(0)
	for i, v := range model {
		high = max(high, i)
		if x.Get(i) != v {
			t.Fatalf("number %d has another value", i)
		}
	}
	if len(x.items) != int(high) {
		t.Fatalf("%d places up to number %d", len(x.items), high)
	}
	for i, v := range x.items {
		if _, ok := model[uint32(i+1)]; !ok && v != nil {
			t.Fatalf("number %d is free and keeps a value", i+1)
		}
	}
}

// A few values that stay after many were dropped do not keep the memory, and many
// values that come and go do not cause copies all the time.
func TestIndexShrinks(t *testing.T) {
	const crowd = 100_000
	var x Index[[]byte]
	for range crowd {
		x.Put(nil)
	}
	for i := uint32(crowd); i > 50; i-- {
		x.Drop(i)
	}
	if x.Len() != 50 || cap(x.items) > 4*indexKeep {
		t.Errorf("%d places for %d things", cap(x.items), x.Len())
	}
	for i := uint32(1); i <= 50; i++ {
		x.Drop(i)
	}
	if n := testing.AllocsPerRun(100, func() {
		for range 50 {
			x.Put(nil)
		}
		for i := uint32(1); i <= 50; i++ {
			x.Drop(i)
		}
	}); n != 0 {
		t.Errorf("%v allocations for 50 that come and go", n)
	}
}
