package session

import (
	"belfry/message"
	"belfry/poller"
	"belfry/wire"
)

// records finds the record of a session by its slot.
type records struct{ ps *poller.Shard }

// rec returns the record of a slot. It is valid until the slot's connection has
// ended; only the shard's goroutine may use it.
func (r records) rec(slot uint32) *record { return (*record)(r.ps.Record(slot)) }

// env is what every part of a shard works with. It does not change once the
// shard is made, so each part holds a copy.
type env struct {
	records
	*scratch
	srv      *Server
	opt      *Options // this shard's own; changed only by Adjust, on the shard
	index    int      // of the shard
	counters *counters
}

// scratch is where the bytes for one session are built. What is in it is valid
// until any part of the shard builds the next.
type scratch struct {
	buf    []byte
	writer wire.Writer
	hello  wire.Hello
}

func newEnv(srv *Server, ps *poller.Shard) env {
	own := srv.opt
	return env{records: records{ps}, scratch: new(scratch), srv: srv, opt: &own, index: ps.Index(), counters: new(counters)}
}

// readOn reads a session again, unless something keeps it from being read.
func (e *env) readOn(slot uint32, rec *record) {
	if rec.flags&flagsUnread == 0 {
		e.ps.Resume(slot)
	}
}

// variantOf returns the transport and the encoding of a session.
func (e *env) variantOf(rec *record) *variant { return &e.srv.protocols.variants[rec.variant] }

// say returns a writer for what an encoding says to one session. The writer
// appends to dst, and is valid until the next call.
func (e *env) say(rec *record, dst []byte) *wire.Writer {
	e.writer.Reset(e.variantOf(rec).Transport, dst)
	return &e.writer
}

// sid returns the decoded id of the session in a slot.
func (e *env) sid(slot uint32) message.SID {
	return message.SID{Node: e.opt.Node, Shard: uint16(e.index), Conn: uint64(e.ps.ID(slot))}
}

// session returns the id of the session in a slot.
func (e *env) session(slot uint32) string { return e.sid(slot).Format(&e.opt.Key) }
