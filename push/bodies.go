package push

import (
	"fmt"
	"io"
	"sync/atomic"
)

// bodies bounds the request bodies that are still arriving: their number, and the
// bytes that are held of them. A body that arrived in one packet with its head
// needs no place.
type bodies struct {
	max, maxBatches int64
	maxBytes        int64

	open, batches, bytes atomic.Int64
}

func newBodies(l *Limits) bodies {
	return bodies{max: int64(l.MaxBodies), maxBatches: max(1, int64(l.MaxBodies)/2), maxBytes: int64(l.BodyBytes)}
}

// enter takes a place for a body. The caller must call leave in every case, also
// if enter returned a problem. Batches, which may last for hours, get at most half
// of the places.
func (b *bodies) enter(batch bool) *problem {
	n := b.open.Add(1)
	if batch && b.batches.Add(1) > b.maxBatches {
		return &problem{cause: CauseBodies, detail: fmt.Sprintf("allowed are at most %d batches at once, half of api.max_bodies", b.maxBatches)}
	}
	if n > b.max {
		return &problem{cause: CauseBodies, detail: fmt.Sprintf("allowed are at most %d request bodies arriving at once (api.max_bodies)", b.max)}
	}
	return nil
}

// leave gives back what enter took.
func (b *bodies) leave(batch bool) {
	b.open.Add(-1)
	if batch {
		b.batches.Add(-1)
	}
}

// errBodyBytes is the error of reading a body while there is no room for its bytes.
type errBodyBytes struct{ most int64 }

func (e errBodyBytes) Error() string {
	return fmt.Sprintf("the request bodies that are arriving already hold %d bytes, which is the limit (api.body_bytes)", e.most)
}

// heldBytes counts the bytes that one body holds. The zero value has no limit and
// counts nothing.
type heldBytes struct {
	bodies *bodies
	n      int64
}

// take counts n more bytes. It returns an errBodyBytes above the limit; the bytes
// are counted all the same, until release.
func (h *heldBytes) take(n int) error {
	if h.bodies == nil {
		return nil
	}
	h.n += int64(n)
	if h.bodies.bytes.Add(int64(n)) > h.bodies.maxBytes {
		return errBodyBytes{h.bodies.maxBytes}
	}
	return nil
}

// release gives all bytes back.
func (h *heldBytes) release() {
	if h.bodies != nil {
		h.bodies.bytes.Add(-h.n)
		h.n = 0
	}
}

// heldReader counts the bytes that are read from src.
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
