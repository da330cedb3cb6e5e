package broadcast

import (
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// serverLog writes the log of the embedded server to the log of belfry. A fatal
// error of the server ends its start and not the process.
type serverLog struct {
	log   *zap.SugaredLogger
	fatal chan<- string
	now   func() time.Time

	refused atomic.Int64 // when another node last refused a route of this one, Unix ns
}

// refusedFor is how long a refused route is reported. The server tries the route
// again twice a second.
const refusedFor = 10 * time.Second

// routesRefused reports whether another node refuses the routes of this one.
func (l *serverLog) routesRefused() bool {
	at := l.refused.Load()
	return at != 0 && l.now().Sub(time.Unix(0, at)) < refusedFor
}

// Noticef implements server.Logger. It logs at debug, because the server writes
// many lines at this level.
func (l *serverLog) Noticef(format string, v ...any) { l.log.Debugf(format, v...) }

// Warnf implements server.Logger.
func (l *serverLog) Warnf(format string, v ...any) { l.log.Warnf(format, v...) }

// Errorf implements server.Logger. A refused route is logged at debug: the server
// reports it twice a second and names no setting. Condition reports it instead.
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
