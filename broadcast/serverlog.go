package broadcast

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// serverLog writes the server's log to ours. A fatal error ends the start of
// the server, not the process.
type serverLog struct {
	log   *zap.SugaredLogger
	fatal chan<- string
	now   func() time.Time

	refused atomic.Int64 // when another node last refused a route of ours, Unix ns
}

// refusedFor is for how long a refused route is told: the server tries again
// twice a second.
const refusedFor = 10 * time.Second

// routesRefused says whether other nodes refuse the routes of this one.
func (l *serverLog) routesRefused() bool {
	at := l.refused.Load()
	return at != 0 && l.now().Sub(time.Unix(0, at)) < refusedFor
}

// Noticef implements server.Logger; the server is chatty at this level.
func (l *serverLog) Noticef(format string, v ...any) { l.log.Debugf(format, v...) }

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, v ...any) { l.log.Warnf(format, v...) }

// Errorf implements server.Logger. That a route is refused comes twice a second
// and names no setting: Condition tells it.
func (l *serverLog) Errorf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	if strings.Contains(text, "Route Error") && strings.Contains(text, "Authorization Violation") {
		l.refused.Store(l.now().UnixNano())
		l.log.Debug(text)
		return
	}
	l.log.Error(text)
}

// Debugf implements server.Logger.
func (l *serverLog) Debugf(format string, v ...any) { l.log.Debugf(format, v...) }

// Tracef implements server.Logger.
func (l *serverLog) Tracef(string, ...any) {}

// Fatalf implements server.Logger.
func (l *serverLog) Fatalf(format string, v ...any) {
	select {
	case l.fatal <- fmt.Sprintf(format, v...):
	default:
	}
	l.log.Errorf(format, v...)
}
