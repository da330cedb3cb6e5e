package session

import (
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/sys/unix"

	"belfry/ws"
)

// connLines is how many lines a node logs each second at level info about
// connections that were refused or have ended. Each shard has an equal share.
// Further lines are left out and counted; one line a second says how many. The
// number is below the default of log.sample_first, which would leave lines out
// without counting them.
const connLines = 16

// connLog writes lines about connections. It decides whether a line is written
// before it collects what the line says. Owned by the shard.
type connLog struct {
	env
	remotes *remotes
	users   *users
	log     *zap.Logger
	origin  []byte // of the request that is being refused; valid while it is
	each    int    // lines per second
	left    int    // lines left in this second
	missed  uint64 // lines left out since the last tick
}

func (l *connLog) init(e *env, r *remotes, us *users) {
	each := max(1, connLines/max(e.opt.Poller.Shards, 1))
	*l = connLog{env: *e, remotes: r, users: us, log: e.opt.Log, each: each, left: each}
}

// check returns nil if no line is to be written. At level debug every connection
// has a line, at info a limited number per second, and above info none.
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

// tick begins a second, and logs how many lines the last one left out.
func (l *connLog) tick() {
	l.left = l.each
	if l.missed > 0 {
		l.log.Info("further connections were refused or ended; their log lines were left out", zap.Uint64("connections", l.missed), zap.Int("shard", l.index))
		l.missed = 0
	}
}

// refused writes the line of a refused connection.
func (l *connLog) refused(slot uint32, r *ws.Refusal) {
	ce := l.check("connection refused")
	if ce == nil {
		return
	}
	fields := []zap.Field{zap.Int("status", r.Status), zap.String("cause", string(causes[causeOf(r)].cause)), zap.String("detail", r.Detail)}
	if len(l.origin) > 0 {
		fields = append(fields, zap.String("origin", string(l.origin[:min(len(l.origin), maxLogged)])))
	}
	ce.Write(l.fields(slot, fields)...)
}

// maxLogged is how many bytes of a client's own text a line holds.
const maxLogged = 256

// ended writes the line of a connection that has ended, or of a session that was
// taken out of the tables while its closing handshake goes on. err is the system's
// error that ended the connection, if it was one.
func (l *connLog) ended(slot uint32, rec *record, err error) {
	ce := l.check("connection ended")
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
		fields = append(fields, zap.String("uid", string(l.users.uid(rec))))
	}
	if rec.openedAt != 0 {
		fields = append(fields, zap.String("sid", l.session(slot)),
			zap.Duration("duration", time.Duration(time.Now().Unix()-int64(rec.openedAt))*time.Second))
	}
	ce.Write(l.fields(slot, fields)...)
}

// unopened writes the line of a connection that ends before its client has logged
// in. closer.unregister writes the line of a session.
func (l *connLog) unopened(slot uint32, rec *record) {
	if rec.state == stateLogin {
		l.ended(slot, rec, nil)
	}
}

// fields appends what the kernel knows about a connection.
func (l *connLog) fields(slot uint32, fields []zap.Field) []zap.Field {
	if a := l.remotes.of(slot); a.IsValid() && a.Port() == 0 { // the proxy gave no port
		fields = append(fields, zap.Stringer("address", a.Addr()))
	} else if a.IsValid() {
		fields = append(fields, zap.Stringer("address", a))
	}
	// Fails if the socket is not TCP.
	if info, err := unix.GetsockoptTCPInfo(l.ps.FD(slot), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
		fields = append(fields, zap.Uint64("bytes_in", info.Bytes_received), zap.Uint64("bytes_out", info.Bytes_acked))
	}
	return append(fields, zap.Int("shard", l.index))
}
