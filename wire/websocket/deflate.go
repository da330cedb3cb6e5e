package websocket

import (
	"sync/atomic"
	"time"

	"belfry/message"
	"belfry/wire"
	"belfry/ws"
)

// Deflate is WebSocket with permessage-deflate (RFC 7692). It implements
// wire.Transport. Neither direction keeps context from message to message: a
// broadcast is compressed once for all clients, and an idle session takes no more
// memory than one without deflate.
type Deflate struct {
	Transport
	deflater *ws.Deflater
	counters deflateCounters
}

type deflateCounters struct {
	compressed, inflated      atomic.Uint64 // messages
	saved, received           atomic.Uint64 // bytes
	compressTime, inflateTime atomic.Int64  // nanoseconds
	buffers                   atomic.Int64  // bytes
}

// DeflateStats are totals since the start and, where marked with "now", present
// values. A broadcast counts once.
type DeflateStats struct {
	Compressed   uint64        // frames that were compressed
	Saved        uint64        // bytes that compression has saved in these frames
	CompressTime time.Duration // for all frames, also for those that were not compressed
	Inflated     uint64        // messages of clients
	Received     uint64        // bytes of these messages after inflating
	InflateTime  time.Duration
	Buffers      int64 // now: bytes of the buffers of all decoders that messages are inflated into
}

var _ wire.Transport = (*Deflate)(nil)

// NewDeflate returns a Deflate, or an *ws.OptionError if an option is out of its
// range.
func NewDeflate(o ws.DeflateOptions) (*Deflate, error) {
	d, err := ws.NewDeflater(o)
	if err != nil {
		return nil, err
	}
	return &Deflate{deflater: d}, nil
}

// Name returns "websocket+deflate".
func (*Deflate) Name() string { return "websocket+deflate" }

// AppendFrame appends one text or binary frame, compressed if that makes it
// smaller.
func (d *Deflate) AppendFrame(dst []byte, p wire.Payload) []byte {
	began := time.Now()
	dst, saved := d.deflater.AppendFrame(dst, opcode(p.Kind), p.Data)
	if saved > 0 {
		d.counters.compressed.Add(1)
		d.counters.saved.Add(uint64(saved))
	}
	d.counters.compressTime.Add(int64(time.Since(began)))
	return dst
}

// Stats returns the totals. Any goroutine may call it.
func (d *Deflate) Stats() DeflateStats {
	c := &d.counters
	return DeflateStats{
		Compressed: c.compressed.Load(), Saved: c.saved.Load(), CompressTime: time.Duration(c.compressTime.Load()),
		Inflated: c.inflated.Load(), Received: c.received.Load(), InflateTime: time.Duration(c.inflateTime.Load()),
		Buffers: c.buffers.Load(),
	}
}

// NewDecoder returns a decoder with an inflater.
func (d *Deflate) NewDecoder() wire.Decoder { return &inflating{counters: &d.counters} }

type inflating struct {
	inflater ws.Inflater
	counters *deflateCounters
	counted  int // bytes of the inflater's buffer in counters.buffers
}

// Next implements wire.Decoder. limits.MaxMessage limits the compressed payload
// and the inflated message.
func (d *inflating) Next(p []byte, in *ws.Inbound, limits ws.Limits) (int, ws.Event, error) {
	limits.Deflate = true
	n, ev, err := ws.Next(p, in, limits)
	if err != nil || !ev.Compressed {
		return n, ev, err
	}
	began := time.Now()
	received := len(ev.Payload)
	ev.Payload, err = d.inflater.Inflate(ev, limits)
	ev.Compressed, ev.Inflated = false, max(1, len(ev.Payload)-received+d.inflater.Cost())
	d.counters.inflated.Add(1)
	d.counters.received.Add(uint64(len(ev.Payload)))
	d.counters.inflateTime.Add(int64(time.Since(began)))
	if size := d.inflater.Buffer(); size != d.counted {
		d.counters.buffers.Add(int64(size - d.counted))
		d.counted = size
	}
	return n, ev, err
}

// opcode returns the opcode for a payload of the given kind.
func opcode(k message.Kind) ws.OpCode {
	if k == message.Binary {
		return ws.OpBinary
	}
	return ws.OpText
}
