package poller

import "sync/atomic"

// Frame is a run of bytes that is sent whole or not at all. All connections
// that get it share it, so it must not be changed after it was made.
type Frame struct {
	b     []byte
	key   uint64
	own   bool         // made for one connection: no policy drops it
	class Class        // Data if shared
	refs  atomic.Int32 // queues that hold it; the node's backlog counts it while there are any
}

// NewFrame makes a shared frame of b, which it keeps. Under the policy
// LatestOnly a frame replaces a waiting one with the same key; a frame with
// key 0 neither replaces nor is replaced.
func NewFrame(b []byte, key uint64) *Frame { return &Frame{b: b, key: key} }

// Frames are one or several frames that go to a connection in one write.
type Frames struct {
	bytes []byte   // of all frames, one after the other
	list  []*Frame // at least one
}

// NewFrames joins frames, of which there must be at least one. It copies their
// bytes if there are several.
func NewFrames(frames ...*Frame) *Frames {
	list := append([]*Frame(nil), frames...)
	if len(list) == 1 {
		return &Frames{bytes: list[0].b, list: list}
	}
	n := 0
	for _, f := range list {
		n += len(f.b)
	}
	b := make([]byte, 0, n)
	for _, f := range list {
		b = append(b, f.b...)
	}
	return &Frames{bytes: b, list: list}
}

// Len returns how many frames there are.
func (f *Frames) Len() int { return len(f.list) }

// At returns the i-th frame.
func (f *Frames) At(i int) *Frame { return f.list[i] }
