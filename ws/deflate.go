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

	keepDeflated    = 64 << 10 // largest output buffer that a writer keeps, in bytes
	maxDeflateLevel = 9
)

// DeflateOptions configure a Deflater. A field of 0 means its default.
type DeflateOptions struct {
	Level   int // 1 (fastest) to 9 (smallest); 0: DefaultDeflateLevel
	MinSize int // a payload of fewer bytes is not compressed; 0: DefaultDeflateMin
	// Writers is the number of messages that can be compressed at the same time;
	// 0: GOMAXPROCS. A writer takes 0.8 to 1.4 MB from its first use on.
	Writers int
}

// Deflater makes compressed frames (RFC 7692) without context from earlier
// messages: the same bytes are valid for every client that has negotiated
// permessage-deflate. Several goroutines may use it at once.
type Deflater struct {
	min     int
	level   int
	writers chan *deflateWriter // free writers; nil for one that has to be made first
}

// deflateWriter is a compressor with its output.
type deflateWriter struct {
	*flate.Writer
	out   []byte
	limit int // largest len(out)
}

// NewDeflater returns a Deflater, or an *OptionError if an option is out of its
// range.
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
		return nil, &OptionError{"Level", fmt.Sprintf("%d; allowed are 1 to %d", o.Level, maxDeflateLevel)}
	case o.MinSize < 0:
		return nil, &OptionError{"MinSize", fmt.Sprintf("%d bytes; allowed are 0 and more", o.MinSize)}
	case o.Writers < 0:
		return nil, &OptionError{"Writers", fmt.Sprintf("%d; allowed are 0 and more", o.Writers)}
	}
	d := &Deflater{min: o.MinSize, level: o.Level, writers: make(chan *deflateWriter, o.Writers)}
	for range o.Writers {
		d.writers <- nil
	}
	return d, nil
}

// AppendFrame appends a complete, unfragmented data frame. saved is the number of
// bytes that compression saves. It is 0 for a frame that is not compressed: its
// payload is below the minimum or would not get smaller, or no writer is free.
// AppendFrame does not wait for a writer and makes no additional ones, so its
// time and memory are bounded.
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
	// If the compressor panics, the next message gets a new one.
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
	w.release()
	intact = w
	return dst, saved
}

func newDeflateWriter(level int) *deflateWriter {
	w := &deflateWriter{}
	z, err := flate.NewWriter(w.sink(), level)
	if err != nil {
		panic(err) // cannot happen: NewDeflater has checked the level
	}
	w.Writer = z
	return w
}

// compress returns the compressed payload, valid until release, or nil if it is
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

// release frees the output buffer if a large message made it grow.
func (w *deflateWriter) release() {
	if cap(w.out) > keepDeflated {
		w.out = nil
	}
}

// deflateSink is the io.Writer for the output of a deflateWriter.
type deflateSink deflateWriter

func (w *deflateWriter) sink() *deflateSink { return (*deflateSink)(w) }

var errNotSmaller = errors.New("not smaller")

// Write implements io.Writer. Its error stops the compression of a message that
// does not get smaller.
func (s *deflateSink) Write(p []byte) (int, error) {
	if len(s.out)+len(p) > s.limit {
		return 0, errNotSmaller
	}
	s.out = append(s.out, p...)
	return len(p), nil
}
