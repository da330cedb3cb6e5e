package offheap

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func newStrs(t testing.TB, max int) *Strs {
	t.Helper()
	a, err := NewStrs(new(Owner), max)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

func TestStrSizes(t *testing.T) {
	var sizes []int
	for class := range uint32(strClasses) {
		sizes = append(sizes, strSize(class+1))
	}
	if want := []int{8, 16, 24, 32, 40, 48, 56, 64, 96, 128, 192, 256}; !slices.Equal(sizes, want) {
		t.Fatalf("sizes %v, want %v", sizes, want)
	}
	for n := 1; n <= MaxStr; n++ {
		i, _ := slices.BinarySearch(sizes, n+1)
		if got := strClass(n); got != uint32(i+1) {
			t.Fatalf("%d bytes: class %d, want %d", n, got, i+1)
		}
	}
}

func TestStrsAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const max = 300
		a, err := NewStrs(new(Owner), max)
		if err != nil {
			t.Fatal(err)
		}
		defer a.Close()
		held := map[Str][]byte{}
		any := func(t *rapid.T) (Str, bool) {
			if len(held) == 0 {
				return 0, false
			}
			var refs []Str
			for s := range held {
				refs = append(refs, s)
			}
			slices.Sort(refs)
			return rapid.SampledFrom(refs).Draw(t, "str"), true
		}
		put := func(t *rapid.T) {
			p := rapid.SliceOfN(rapid.Byte(), 1, MaxStr).Draw(t, "bytes")
			s, err := a.Put(p)
			if err != nil {
				t.Fatal(err)
			}
			if _, dup := held[s]; dup || s == 0 {
				t.Fatalf("reference %#x is taken", s)
			}
			held[s] = bytes.Clone(p)
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				if len(held) < max {
					put(t)
				}
			},
			"putSame": func(t *rapid.T) {
				p := bytes.Repeat([]byte{7}, rapid.IntRange(1, MaxStr).Draw(t, "n"))
				for range rapid.IntRange(1, 30).Draw(t, "times") {
					if len(held) < max {
						s, err := a.Put(p)
						if err != nil {
							t.Fatal(err)
						}
						held[s] = p
					}
				}
			},
			"free": func(t *rapid.T) {
				if s, ok := any(t); ok {
					a.Free(s)
					delete(held, s)
				}
			},
			"trim": func(t *rapid.T) { a.Trim() },
			"":     func(t *rapid.T) { checkStrs(t, a, held) },
		})
	})
}

// checkStrs compares a Strs with its model.
func checkStrs(t *rapid.T, a *Strs, held map[Str][]byte) {
	if a.Len() != len(held) {
		t.Fatalf("Len = %d, want %d", a.Len(), len(held))
	}
	for s, want := range held {
		if got := a.Get(s); !bytes.Equal(got, want) || cap(got) != len(got) {
			t.Fatalf("%#x = %q (cap %d), want %q", s, got, cap(got), want)
		}
	}
}

func TestStrsEmpty(t *testing.T) {
	a := newStrs(t, 1)
	s, err := a.Put(nil)
	if s != 0 || err != nil {
		t.Fatalf("Put(nil) = %#x, %v", s, err)
	}
	if len(a.Get(0)) != 0 {
		t.Fatal("0 is not empty")
	}
	a.Free(0)
	a.Free(0)
	if a.Len() != 0 || len(a.Get(0)) != 0 {
		t.Fatal("freeing 0 did something")
	}
}

func TestStrsErrors(t *testing.T) {
	for _, n := range []int{0, -1, 1<<28 + 1} {
		if _, err := NewStrs(new(Owner), n); err == nil {
			t.Errorf("NewStrs(new(Owner), %d) succeeded", n)
		}
	}
	a := newStrs(t, 2)
	if _, err := a.Put(make([]byte, 256)); !errors.Is(err, ErrTooLong) {
		t.Errorf("256 bytes: %v", err)
	}
	for range 2 {
		if _, err := a.Put([]byte("abc")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Put([]byte("abcd")); err == nil || !strings.Contains(err.Error(), "full") {
		t.Errorf("third string of a class for two: %v", err)
	}
	if _, err := a.Put([]byte("abcdefgh")); err != nil {
		t.Errorf("another class: %v", err)
	}
}

func TestStrsMemory(t *testing.T) {
	a := newStrs(t, 4<<20)
	const n = 100_000
	refs := make([]Str, n)
	for i := range refs {
		s, err := a.Put([]byte("0123456789abcdef"))
		if err != nil {
			t.Fatal(err)
		}
		refs[i] = s
	}
	if per := float64(a.region.resident(t)) / n; per > 24.1 {
		t.Errorf("a string of 16 bytes costs %.1f", per)
	}
	for _, s := range refs {
		a.Free(s)
	}
	for a.Trim() > 0 {
	}
	block := 24 << a.slabs[3].blockShift
	if got := a.region.resident(t); got > block {
		t.Errorf("%d bytes resident without strings, a block is %d", got, block)
	}
}

func TestStrsDoNotAllocate(t *testing.T) {
	a := newStrs(t, 100)
	p := []byte("0123456789abcdef")
	keep, _ := a.Put(p)
	n := 0
	if got := testing.AllocsPerRun(100, func() {
		s, _ := a.Put(p)
		n += len(a.Get(s)) + len(a.Get(keep)) + len(a.Get(0))
		a.Free(s)
	}); got != 0 {
		t.Fatalf("%v allocations", got)
	}
}

func BenchmarkStrsPutFree(b *testing.B) {
	a := newStrs(b, 1<<20)
	p := []byte("0123456789abcdef")
	b.ReportAllocs()
	for b.Loop() {
		s, _ := a.Put(p)
		a.Free(s)
	}
}

func BenchmarkStrsGet(b *testing.B) {
	a := newStrs(b, 1<<20)
	var refs [1024]Str
	for i := range refs {
		refs[i], _ = a.Put([]byte("0123456789abcdef"))
	}
	n := 0
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		n += len(a.Get(refs[i&1023]))
	}
	_ = n
}
