package wire

// Writer takes the payloads that an encoding makes and frames them. The zero
// value is of no use: Reset begins. It is used by one goroutine at a time.
type Writer struct {
	transport Transport
	out       []byte
	scratch   []byte
}

// Reset has w append frames of t to dst.
func (w *Writer) Reset(t Transport, dst []byte) { w.transport, w.out = t, dst }

// Bytes returns dst of Reset with all frames behind it, valid as dst is.
func (w *Writer) Bytes() []byte { return w.out }

// Buffer returns an empty slice to build a payload in. It is valid until the
// next call of Buffer; its room is used again if it comes back with Frame.
func (w *Writer) Buffer() []byte { return w.scratch[:0] }

// Frame writes p as one frame.
func (w *Writer) Frame(p Payload) { w.out = w.transport.AppendFrame(w.out, p) }

// FrameBuffer writes p, whose Data was built in Buffer.
func (w *Writer) FrameBuffer(p Payload) {
	w.out = w.transport.AppendFrame(w.out, p)
	if cap(p.Data) <= maxScratch {
		w.scratch = p.Data
	}
}

// maxScratch bounds the buffer that a Writer keeps, in bytes.
const maxScratch = 64 << 10
