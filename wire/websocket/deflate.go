package websocket

import (
	"sync/atomic"
	"time"

	"belfry/message"
	"belfry/wire"
	"belfry/ws"
)

// DeflateOptions configure a Deflate.
type DeflateOptions struct {
	ws.DeflateOptions
	// Except are parts of the User-Agent of clients that do not get deflate
	// although they offer it; nil: browsers that are known to break.
	Except []string
}

// Deflate is WebSocket with permessage-deflate (RFC 7692). No context is kept
// from message to message, in neither direction: a broadcast is compressed once
// for all clients, and an idle session costs no more than one without.
type Deflate struct {
	Transport
	deflater *ws.Deflater
	except   []string
	counters deflateCounters
}

type deflateCounters struct {
	compressed, inflated       atomic.Uint64 // messages
	saved, received            atomic.Uint64 // bytes
	compressNanos, inflateNano atomic.Uint64
}

// DeflateStats is what a Deflate has done. Broadcasts count once.
type DeflateStats struct {
	Compressed   uint64        // frames made smaller
	Saved        uint64        // bytes by which they are
	CompressTime time.Duration // of all frames that were tried
	Inflated     uint64        // messages of clients
	Received     uint64        // bytes that they inflated to
	InflateTime  time.Duration
}

var _ wire.Transport = (*Deflate)(nil)

// NewDeflate returns an *ws.OptionError if an option is out of its range.
func NewDeflate(o DeflateOptions) (*Deflate, error) {
	d, err := ws.NewDeflater(o.DeflateOptions)
	if err != nil {
		return nil, err
	}
	return &Deflate{deflater: d, except: o.Except}, nil
}

// Name returns "websocket+deflate".
func (*Deflate) Name() string { return "websocket+deflate" }

func (d *Deflate) accepts(r *ws.Request) bool { return r.NegotiateDeflate(d.except) }

// AppendFrame appends one text or binary frame, compressed if that makes it
// smaller.
func (d *Deflate) AppendFrame(dst []byte, p wire.Payload) []byte {
	began := time.Now()
	dst, saved := d.deflater.AppendFrame(dst, opcode(p.Kind), p.Data)
	if saved > 0 {
		d.counters.compressed.Add(1)
		d.counters.saved.Add(uint64(saved))
	}
	d.counters.compressNanos.Add(uint64(time.Since(began)))
	return dst
}

// Stats returns what was done so far. Any goroutine.
func (d *Deflate) Stats() DeflateStats {
	c := &d.counters
	return DeflateStats{
		Compressed: c.compressed.Load(), Saved: c.saved.Load(), CompressTime: time.Duration(c.compressNanos.Load()),
		Inflated: c.inflated.Load(), Received: c.received.Load(), InflateTime: time.Duration(c.inflateNano.Load()),
	}
}

// NewDecoder returns a decoder with an inflater.
func (d *Deflate) NewDecoder() wire.Decoder { return &inflating{counters: &d.counters} }

type inflating struct {
	inflater ws.Inflater
	counters *deflateCounters
}

// Next implements wire.Decoder. What a message inflates to is bounded by
// limits.MaxMessage as what it is before.
func (d *inflating) Next(p []byte, in *ws.Inbound, limits ws.Limits) (int, ws.Event, error) {
	limits.Deflate = true
	n, ev, err := ws.Next(p, in, limits)
	if err != nil || !ev.Compressed {
		return n, ev, err
	}
	began := time.Now()
	received := len(ev.Payload)
	ev.Payload, err = d.inflater.Inflate(ev, limits)
	ev.Compressed, ev.Inflated = false, max(0, len(ev.Payload)-received)
	d.counters.inflated.Add(1)
	d.counters.received.Add(uint64(len(ev.Payload)))
	d.counters.inflateNano.Add(uint64(time.Since(began)))
	return n, ev, err
}

// opcode returns the opcode of a data frame.
func opcode(k message.Kind) ws.OpCode {
	if k == message.Binary {
		return ws.OpBinary
	}
	return ws.OpText
}
