package poller

import "sync/atomic"

// Frame is a run of bytes that is sent whole or not at all. It is shared by
// all connections it goes to and must not be changed after it was made.
type Frame struct {
	b       []byte
	key     uint64
	last    bool         // the last word to a connection: no bound holds it back
	sticky  bool         // never dropped by a policy
	control bool         // a control frame, of one connection only
	refs    atomic.Int32 // queues that hold it; the node's backlog counts it while there are any
}

// NewFrame makes a frame of b, which it keeps. key is what the policy
// LatestOnly replaces by; 0 means that it replaces nothing and is not replaced.
func NewFrame(b []byte, key uint64) *Frame { return &Frame{b: b, key: key} }

// Bytes returns the frame's bytes, which must not be changed.
func (f *Frame) Bytes() []byte { return f.b }

// Batch is one or several frames that go to a connection in one write.
type Batch struct {
	b     []byte   // all frames' bytes, one after the other
	parts []*Frame // at least one
}

// NewBatch joins frames, of which there must be at least one; their bytes are
// copied if there are several.
func NewBatch(frames ...*Frame) *Batch {
	parts := append([]*Frame(nil), frames...)
	if len(parts) == 1 {
		return &Batch{b: parts[0].b, parts: parts}
	}
	n := 0
	for _, f := range parts {
		n += len(f.b)
	}
	b := make([]byte, 0, n)
	for _, f := range parts {
		b = append(b, f.b...)
	}
	return &Batch{b: b, parts: parts}
}

// Len returns the bytes that one connection gets.
func (b *Batch) Len() int { return len(b.b) }

// Frames returns how many frames one connection gets.
func (b *Batch) Frames() int { return len(b.parts) }

// Frame returns the i-th frame.
func (b *Batch) Frame(i int) *Frame { return b.parts[i] }
