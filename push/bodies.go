package push

import (
	"fmt"
	"io"
	"sync/atomic"
)

// bodies bounds what is on its way in: how many bodies, and how many of their
// bytes are held. A body that came in the same packet as its head is not on
// its way and needs no place.
type bodies struct {
	max, maxBatches int64
	maxBytes        int64

	open, batches, bytes atomic.Int64
}

func newBodies(l *Limits) bodies {
	return bodies{max: int64(l.MaxBodies), maxBatches: max(1, int64(l.MaxBodies)/2), maxBytes: int64(l.BodyBytes)}
}

// enter takes a place for a body. leave gives it back, also when it was refused.
// Batches, which may last for hours, get at most half of the places.
func (b *bodies) enter(batch bool) *problem {
	n := b.open.Add(1)
	if batch && b.batches.Add(1) > b.maxBatches {
		return &problem{cause: CauseBodies, detail: fmt.Sprintf("allowed are at most %d batches at once, half of api.max_bodies", b.maxBatches)}
	}
	if n > b.max {
		return &problem{cause: CauseBodies, detail: fmt.Sprintf("allowed are at most %d bodies on their way in at once (api.max_bodies)", b.max)}
	}
	return nil
}

func (b *bodies) leave(batch bool) {
	b.open.Add(-1)
	if batch {
		b.batches.Add(-1)
	}
}

// errBodyBytes is read from a body that there is no room for.
type errBodyBytes struct{ most int64 }

func (e errBodyBytes) Error() string {
	return fmt.Sprintf("the bodies on their way in hold all of the %d bytes that they may (api.body_bytes)", e.most)
}

// heldBytes counts the bytes that one body holds. The zero value, which has no
// bound, counts nothing.
type heldBytes struct {
	of *bodies
	n  int64
}

func (h *heldBytes) take(n int) error {
	if h.of == nil {
		return nil
	}
	h.n += int64(n)
	if h.of.bytes.Add(int64(n)) > h.of.maxBytes {
		return errBodyBytes{h.of.maxBytes}
	}
	return nil
}

func (h *heldBytes) release() {
	if h.of != nil {
		h.of.bytes.Add(-h.n)
		h.n = 0
	}
}

// heldReader counts what is read of src.
type heldReader struct {
	src io.Reader
	*heldBytes
}

func (r heldReader) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	if full := r.take(n); full != nil {
		return n, full
	}
	return n, err
}
