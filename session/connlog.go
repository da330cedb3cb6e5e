package session

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"belfry/ws"
)

// connLines is how many lines a second a node logs at level info about
// connections that were refused or have ended, each shard its share. The others
// are counted, and told once a second. It is below the default of
// log.sample_first, which would leave lines out that nobody counts.
const connLines = 16

// connLog decides whether a line about a connection is written, before
// anything is asked or put together for it.
type connLog struct {
	log    *zap.Logger
	each   int    // lines in a second
	left   int    // in this one
	missed uint64 // that were not written
}

func newConnLog(log *zap.Logger, shards int) connLog {
	each := max(1, connLines/max(shards, 1))
	return connLog{log: log, each: each, left: each}
}

// check returns nil if there is to be no line: at level debug every connection
// has one, at info so many a second, and above none.
func (l *connLog) check(msg string) *zapcore.CheckedEntry {
	if l.log.Core().Enabled(zap.DebugLevel) {
		return l.log.Check(zap.DebugLevel, msg)
	}
	if !l.log.Core().Enabled(zap.InfoLevel) {
		return nil
	}
	if l.left <= 0 {
		l.missed++
		return nil
	}
	l.left--
	return l.log.Check(zap.InfoLevel, msg)
}

// tick begins a second.
func (l *connLog) tick(shard int) {
	l.left = l.each
	if l.missed > 0 {
		l.log.Info("further connections were refused or ended; their log lines were left out", zap.Uint64("connections", l.missed), zap.Int("shard", shard))
		l.missed = 0
	}
}

// logRefused writes the line of a refused connection.
func (h *shard) logRefused(slot uint32, r *ws.Refusal) {
	ce := h.conns.check("connection refused")
	if ce == nil {
		return
	}
	fields := []zap.Field{zap.Int("status", r.Status), zap.String("cause", string(causes[causeOf(r)].cause)), zap.String("detail", r.Detail)}
	if len(h.origin) > 0 {
		fields = append(fields, zap.String("origin", string(h.origin[:min(len(h.origin), maxLogged)])))
	}
	ce.Write(h.connFields(slot, fields)...)
}

// maxLogged bounds what a line holds of a client's own words, in bytes.
const maxLogged = 256

// logEnded writes the line of a connection that has ended, or of a session
// that is out of the tables and whose closing handshake goes on. err is what
// the system said, if it was that.
func (h *shard) logEnded(slot uint32, rec *record, err error) {
	ce := h.conns.check("connection ended")
	if ce == nil {
		return
	}
	fields := []zap.Field{zap.Stringer("reason", rec.reason)}
	if code := rec.reason.Code(); code != 0 {
		fields = append(fields, zap.Uint16("code", code))
	}
	if err != nil {
		fields = append(fields, zap.Error(err))
	}
	if rec.uid != 0 {
		fields = append(fields, zap.String("uid", string(h.uids.Get(rec.uid))))
	}
	if rec.openedAt != 0 {
		fields = append(fields, zap.String("sid", h.sid(slot)),
			zap.Duration("duration", time.Duration(time.Now().Unix()-int64(rec.openedAt))*time.Second))
	}
	ce.Write(h.connFields(slot, fields)...)
}

// logUnopened writes the line of a connection that ends before its client has
// logged in. The line of a session is written by unregister.
func (h *shard) logUnopened(slot uint32, rec *record) {
	if rec.state == stateLogin {
		h.logEnded(slot, rec, nil)
	}
}

// connFields adds what the kernel knows of a connection.
func (h *shard) connFields(slot uint32, fields []zap.Field) []zap.Field {
	if a := h.remote(slot); a.IsValid() && a.Port() == 0 { // a proxy told it without
		fields = append(fields, zap.Stringer("address", a.Addr()))
	} else if a.IsValid() {
		fields = append(fields, zap.Stringer("address", a))
	}
	// Of no use where the socket is not TCP.
	if info, err := unix.GetsockoptTCPInfo(h.ps.FD(slot), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
		fields = append(fields, zap.Uint64("bytes_in", info.Bytes_received), zap.Uint64("bytes_out", info.Bytes_acked))
	}
	return append(fields, zap.Int("shard", h.index))
}
