package offheap

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// Buffers grow, keep their content, and have the size that BufferSize says. Large
// ones are mappings while the number of mappings allows it.
func TestBuffers(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		type held struct {
			b      []byte
			mapped bool
			want   []byte
		}
		rnd := rand.New(rand.NewPCG(rapid.Uint64().Draw(rt, "seed"), 0))
		var owner Owner
		m := NewBuffers(&owner, rapid.IntRange(0, 4).Draw(rt, "most"))
		all := make([]held, 6)
		for range 100 {
			h := &all[rnd.IntN(len(all))]
			if rnd.IntN(5) == 0 {
				m.Free(h.b, h.mapped)
				*h = held{}
				continue
			}
			size := BufferSize(cap(h.b) + 1 + rnd.IntN(1<<rnd.IntN(18)))
			h.b, h.mapped = m.Grow(h.b, h.mapped, size)
			if cap(h.b) != size || len(h.b) != len(h.want) {
				rt.Fatalf("%d of %d bytes; want %d of %d", len(h.b), cap(h.b), len(h.want), size)
			}
			if h.mapped && size < mappedBuffer {
				rt.Fatalf("a mapping for %d bytes", size)
			}
			for len(h.b) < cap(h.b) && rnd.IntN(1000) > 0 {
				h.b = append(h.b, byte(len(h.b)*7))
			}
			h.want = append(h.want[:0], h.b...)
			mapped, size := 0, 0
			for _, other := range all {
				if !bytes.Equal(other.b, other.want) {
					rt.Fatal("content is lost")
				}
				if other.mapped {
					mapped++
					size += cap(other.b)
				}
			}
			if owner.Bytes() != int64(size) {
				rt.Fatalf("%d bytes are counted for mappings of %d", owner.Bytes(), size)
			}
			if mapped != m.mapped || mapped > m.maxMapped {
				rt.Fatalf("%d mappings, counted %d, at most %d", mapped, m.mapped, m.maxMapped)
			}
		}
		for _, h := range all {
			m.Free(h.b, h.mapped)
		}
		if m.mapped != 0 || owner.Bytes() != 0 {
			rt.Fatalf("%d mappings left, %d bytes are counted", m.mapped, owner.Bytes())
		}
	})
}

// A freed buffer is given back to the kernel.
func TestBufferIsGivenBack(t *testing.T) {
	m := NewBuffers(new(Owner), 1)
	b, mapped := m.Grow(nil, false, 1<<20)
	if !mapped {
		t.Fatal("1 MiB is not a mapping")
	}
	at := unsafe.SliceData(b)
	m.Free(b, mapped)
	state := make([]byte, 1<<20/4096)
	_, _, e := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(at)), 1<<20, uintptr(unsafe.Pointer(&state[0])))
	if e != unix.ENOMEM { // man 2 mincore: "contained unmapped memory"
		t.Errorf("still mapped: %v", e)
	}
}
