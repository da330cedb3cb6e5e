package push

import (
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"golang.org/x/time/rate"
)

// refusalLog logs requests that were refused because of their key, Host or origin.
// A token bucket lets a few lines through at info, so that an operator sees a wrong
// key and an attack does not flood the log. The other lines are at debug.
type refusalLog struct {
	log *zap.Logger

	lines  *rate.Limiter // at info
	silent atomic.Uint64 // lines at debug since the last line at info
}

func newRefusalLog(log *zap.Logger) *refusalLog {
	return &refusalLog{log: log, lines: rate.NewLimiter(logRate, logBurst)}
}

// The token bucket.
const (
	logBurst = 10  // lines at once
	logRate  = 0.2 // lines per second
)

// refused logs one request. key is the name of its key, never the key itself.
func (l *refusalLog) refused(id routeID, r *http.Request, key string, cause Cause) {
	level, silent := l.level(time.Now())
	if e := l.log.Check(level, "request refused"); e != nil {
		e.Write(zap.Stringer("route", id), zap.String("remote", r.RemoteAddr), zap.String("key", key),
			zap.Int("status", cause.Status()), zap.Stringer("cause", cause), zap.Uint64("not_shown", silent))
	}
}

// level returns the level of the next line. At info, silent is the number of lines
// at debug since the last line at info.
func (l *refusalLog) level(now time.Time) (level zapcore.Level, silent uint64) {
	if !l.lines.AllowN(now, 1) {
		l.silent.Add(1)
		return zapcore.DebugLevel, 0
	}
	return zapcore.InfoLevel, l.silent.Swap(0)
}

// logKey returns the text for the key of a refused request.
func logKey(err error) string {
	if err == errWrongKey {
		return "unknown key"
	}
	return keyNone
}
