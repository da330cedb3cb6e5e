package push

import (
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/time/rate"
)

// refusalLog logs requests that were refused for want of a key or for where
// they come from. Each is a line at debug; a token bucket lets a few
// of them through at info, so that an attack fills no log and a wrong key is
// still seen.
type refusalLog struct {
	log *zap.Logger

	lines  *rate.Limiter // at info
	silent atomic.Uint64 // lines at debug since the last one at info
}

func newRefusalLog(log *zap.Logger) *refusalLog {
	return &refusalLog{log: log, lines: rate.NewLimiter(logRate, logBurst)}
}

// The bucket: as many lines at once, and as many a second.
const (
	logBurst = 10
	logRate  = 0.2
)

// refused logs one request. key is its key's name, never the key.
func (l *refusalLog) refused(id routeID, r *http.Request, key string, cause Cause) {
	level, silent := l.level(time.Now())
	if e := l.log.Check(level, "request refused"); e != nil {
		e.Write(zap.Stringer("route", id), zap.String("remote", r.RemoteAddr), zap.String("key", key),
			zap.Int("status", cause.Status()), zap.Stringer("cause", cause), zap.Uint64("not_shown", silent))
	}
}

func (l *refusalLog) level(now time.Time) (level zapcore.Level, silent uint64) {
	if !l.lines.AllowN(now, 1) {
		l.silent.Add(1)
		return zapcore.DebugLevel, 0
	}
	return zapcore.InfoLevel, l.silent.Swap(0)
}

// logKey is what stands for the key of a request that was refused.
func logKey(err error) string {
	if err == errWrongKey {
		return "unknown key"
	}
	return keyNone
}
