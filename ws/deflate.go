package ws

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"

	"github.com/klauspost/compress/flate"
)

// Defaults of DeflateOptions.
const (
	// DefaultDeflateLevel is the default of DeflateOptions.Level.
	DefaultDeflateLevel = 1
	// DefaultDeflateMin is the default of DeflateOptions.MinSize, in bytes.
	DefaultDeflateMin = 1024

	keepDeflated    = 64 << 10 // bytes of output that a writer keeps room for
	maxDeflateLevel = 9
)

// DeflateOptions say how messages are compressed. A field of 0 means its
// default.
type DeflateOptions struct {
	Level   int // from 1, the fastest, to 9, the smallest
	MinSize int // a payload of fewer bytes is sent as it is
	Writers int // the most messages that are compressed at the same time; 0: GOMAXPROCS. Each takes 0.8 to 1.4 MB once it was used
}

// Deflater makes compressed frames (RFC 7692) that need no context: the same
// bytes are right for every client with which permessage-deflate was
// negotiated. Any goroutine may use it at any time.
type Deflater struct {
	min     int
	level   int
	writers chan *deflateWriter // those at rest; nil is one that was not made yet
}

// deflateWriter is a compressor with what it wrote.
type deflateWriter struct {
	*flate.Writer
	out   []byte
	limit int // of out
}

// NewDeflater returns a *OptionError if an option is out of its range.
func NewDeflater(o DeflateOptions) (*Deflater, error) {
	if o.Level == 0 {
		o.Level = DefaultDeflateLevel
	}
	if o.MinSize == 0 {
		o.MinSize = DefaultDeflateMin
	}
	if o.Writers == 0 {
		o.Writers = runtime.GOMAXPROCS(0)
	}
	switch {
	case o.Level < 1 || o.Level > maxDeflateLevel:
		return nil, &OptionError{"level", fmt.Sprintf("%d; allowed are 1 to %d", o.Level, maxDeflateLevel)}
	case o.MinSize < 0:
		return nil, &OptionError{"min_size", fmt.Sprintf("%d bytes; allowed are 0 and more", o.MinSize)}
	case o.Writers < 0:
		return nil, &OptionError{"writers", fmt.Sprintf("%d; allowed are 0 and more", o.Writers)}
	}
	d := &Deflater{min: o.MinSize, level: o.Level, writers: make(chan *deflateWriter, o.Writers)}
	for range o.Writers {
		d.writers <- nil
	}
	return d, nil
}

// AppendFrame appends a whole unfragmented data frame. saved is by how many
// bytes compression made its payload smaller. It is 0 for a frame that is not
// compressed: its payload is below the minimum or would not get smaller, or
// all writers are at work. AppendFrame never waits for one, so that memory and
// time stay bounded where a shard calls it.
func (d *Deflater) AppendFrame(dst []byte, op OpCode, payload []byte) (frame []byte, saved int) {
	if len(payload) < d.min {
		return AppendFrame(dst, op, payload), 0
	}
	var w *deflateWriter
	select {
	case w = <-d.writers:
	default:
		return AppendFrame(dst, op, payload), 0
	}
	// After a panic of the compressor the next message gets a new one.
	var intact *deflateWriter
	defer func() { d.writers <- intact }()
	if w == nil {
		w = newDeflateWriter(d.level)
	}
	smaller := w.compress(payload)
	if smaller == nil {
		dst = AppendFrame(dst, op, payload)
	} else {
		at := len(dst)
		dst = append(AppendHeader(dst, op, true, len(smaller)), smaller...)
		dst[at] |= rsv1Bit
		saved = len(payload) - len(smaller)
	}
	w.rest()
	intact = w
	return dst, saved
}

func newDeflateWriter(level int) *deflateWriter {
	w := &deflateWriter{}
	z, err := flate.NewWriter(w.sink(), level)
	if err != nil {
		panic(err) // the level was checked
	}
	w.Writer = z
	return w
}

// compress returns the compressed payload, valid until rest, or nil if it is
// not smaller.
func (w *deflateWriter) compress(payload []byte) []byte {
	w.out, w.limit = w.out[:0], len(payload)+len(deflateTail)-1
	w.Reset(w.sink())
	if _, err := w.Writer.Write(payload); err != nil {
		return nil
	}
	if err := w.Flush(); err != nil {
		return nil
	}
	return bytes.TrimSuffix(w.out, deflateTail[:])
}

// rest gives up what one large message took.
func (w *deflateWriter) rest() {
	if cap(w.out) > keepDeflated {
		w.out = nil
	}
}

// deflateSink takes the output of a deflateWriter.
type deflateSink deflateWriter

func (w *deflateWriter) sink() *deflateSink { return (*deflateSink)(w) }

var errNotSmaller = errors.New("not smaller")

// Write implements io.Writer. It ends the compression of a message that does
// not get smaller.
func (s *deflateSink) Write(p []byte) (int, error) {
	if len(s.out)+len(p) > s.limit {
		return 0, errNotSmaller
	}
	s.out = append(s.out, p...)
	return len(p), nil
}
