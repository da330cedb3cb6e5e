package poller

import "sync/atomic"

// Frame is a sequence of bytes that is sent completely or not at all. The
// connections that get it share it, so its bytes must not be changed.
type Frame struct {
	b     []byte
	key   uint64
	own   bool         // made for one connection, so no policy drops it
	class Class        // Data if shared
	refs  atomic.Int32 // backlogs that hold it; the node counts its bytes while there are any

	watcher Watcher // nil: nobody watches what becomes of it
}

// NewFrame makes a shared frame of b. It keeps b. With the policy LatestOnly a
// frame replaces a waiting frame with the same key. A frame with key 0 neither
// replaces another nor is replaced.
func NewFrame(b []byte, key uint64) *Frame { return &Frame{b: b, key: key} }

// Frames are one or more frames that go to a connection in one send.
type Frames struct {
	bytes []byte   // of all frames, one after the other
	list  []*Frame // at least one
}

// NewFrames joins frames. There must be at least one. If there are more, their
// bytes are copied.
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

// Len returns the number of frames.
func (f *Frames) Len() int { return len(f.list) }

// At returns frame i, from 0.
func (f *Frames) At(i int) *Frame { return f.list[i] }
