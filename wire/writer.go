package wire

// maxScratch is the largest buffer that a Writer keeps, in bytes.
const maxScratch = 64 << 10

// Writer collects the payloads of an encoding as frames of a transport. Call
// Reset before use. One goroutine at a time may use it.
type Writer struct {
	transport Transport
	out       []byte
	scratch   []byte
}

// Reset makes w append frames of t to dst.
func (w *Writer) Reset(t Transport, dst []byte) { w.transport, w.out = t, dst }

// Bytes returns the dst of Reset with all frames appended. It is valid until the
// owner of dst uses dst again.
func (w *Writer) Bytes() []byte { return w.out }

// Buffer returns an empty slice to build a payload in, valid until the next call
// of Buffer or FrameBuffer.
func (w *Writer) Buffer() []byte { return w.scratch[:0] }

// Frame appends p as one frame.
func (w *Writer) Frame(p Payload) { w.out = w.transport.AppendFrame(w.out, p) }

// FrameBuffer appends p as one frame. p.Data must have been built in Buffer: w
// keeps its memory for the next payload.
func (w *Writer) FrameBuffer(p Payload) {
	w.out = w.transport.AppendFrame(w.out, p)
	if cap(p.Data) <= maxScratch {
		w.scratch = p.Data
	}
}
