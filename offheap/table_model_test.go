package offheap

import (
	"math/rand/v2"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// tableModel is the model of a table: a multiset of values for each hash.
type tableModel struct {
	tab  *Table
	bags map[uint32][]uint32
	n    int
	seq  uint32
}

func (m *tableModel) insert(t *rapid.T, hash, val uint32) {
	if err := m.tab.Insert(hash, val); err != nil {
		t.Fatal(err)
	}
	m.bags[hash] = append(m.bags[hash], val)
	m.n++
}

func (m *tableModel) remove(t *rapid.T, hash, val uint32) {
	i := slices.Index(m.bags[hash], val)
	if got := m.tab.Delete(hash, val); got != (i >= 0) {
		t.Fatalf("Delete(%#x, %d) = %v, bag %v", hash, val, got, m.bags[hash])
	}
	if i < 0 {
		return
	}
	m.n--
	m.bags[hash] = slices.Delete(m.bags[hash], i, i+1)
	if len(m.bags[hash]) == 0 {
		delete(m.bags, hash)
	}
}

func (m *tableModel) check(t *rapid.T) {
	if m.tab.Len() != m.n {
		t.Fatalf("Len = %d, want %d", m.tab.Len(), m.n)
	}
	for hash, bag := range m.bags {
		want := slices.Sorted(slices.Values(bag))
		if got := values(m.tab, hash); !slices.Equal(got, want) {
			t.Fatalf("hash %#x: %v, want %v", hash, got, want)
		}
	}
}

// Hashes are taken from a few values (long runs of equal hashes), from those with a
// home in the last slots of a small array (runs that wrap), and from all values.
func hashes() *rapid.Generator[uint32] {
	const inverse = 0x0E8B2F51 // of the multiplier in home, modulo 2^32
	last := rapid.Custom(func(t *rapid.T) uint32 {
		return (^uint32(0) - rapid.Uint32Range(0, 1<<24).Draw(t, "fromEnd")) * inverse
	})
	return rapid.OneOf(rapid.Uint32Range(0, 3), last, rapid.Uint32())
}

func TestTableAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		tab := NewTable(new(Owner))
		defer tab.Close()
		m := &tableModel{tab: tab, bags: map[uint32][]uint32{}}
		hash := hashes()
		t.Repeat(map[string]func(*rapid.T){
			"insert": func(t *rapid.T) {
				m.insert(t, hash.Draw(t, "hash"), rapid.Uint32Range(0, 4).Draw(t, "val"))
			},
			"delete": func(t *rapid.T) {
				m.remove(t, hash.Draw(t, "hash"), rapid.Uint32Range(0, 4).Draw(t, "val"))
			},
			"insertMany": func(t *rapid.T) {
				rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
				for range rapid.IntRange(1, 1200).Draw(t, "n") {
					m.seq++
					m.insert(t, rng.Uint32(), m.seq)
				}
			},
			"run": func(t *rapid.T) {
				h := hash.Draw(t, "hash")
				for range rapid.IntRange(1, 40).Draw(t, "n") {
					m.seq++
					m.insert(t, h, m.seq)
				}
			},
			"deleteMany": func(t *rapid.T) {
				n := rapid.IntRange(1, 1200).Draw(t, "n")
				for hash, bag := range m.bags {
					for _, val := range slices.Clone(bag) {
						if n--; n < 0 {
							return
						}
						m.remove(t, hash, val)
					}
				}
			},
			"replace": func(t *rapid.T) {
				h := hash.Draw(t, "hash")
				old, new := rapid.Uint32Range(0, 4).Draw(t, "old"), rapid.Uint32Range(0, 4).Draw(t, "new")
				i := slices.Index(m.bags[h], old)
				if got := tab.Replace(h, old, new); got != (i >= 0) {
					t.Fatalf("Replace(%#x, %d, %d) = %v, bag %v", h, old, new, got, m.bags[h])
				}
				if i >= 0 {
					m.bags[h][i] = new
				}
			},
			"trim": func(t *rapid.T) { tab.Trim() },
			"":     m.check,
		})
	})
}
