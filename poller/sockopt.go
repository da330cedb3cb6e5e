package poller

import (
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// notSentLowat is how many unsent bytes the kernel takes for one connection (man 7
// tcp, TCP_NOTSENT_LOWAT). Without it the kernel takes megabytes for a client that
// does not read, despite the limits of the backlog.
const notSentLowat = 16 << 10

// deferAccept is for how many seconds the kernel keeps a new connection until its
// first bytes arrive (man 7 tcp, TCP_DEFER_ACCEPT). So the request has usually
// arrived when the connection is accepted.
const deferAccept = 3

// optionalSockopt is a socket option that a listener does not need. Multipath TCP
// and gVisor lack some.
type optionalSockopt struct {
	name  string
	opt   int
	value func(*Options) int
	costs string // effect of its absence, for the log
}

// optionalSockopts are options of IPPROTO_TCP. Connections inherit them from their
// listener.
var optionalSockopts = [...]optionalSockopt{
	{"TCP_NODELAY", unix.TCP_NODELAY, func(*Options) int { return 1 },
		"messages may be held back for up to 40 ms"},
	{"TCP_NOTSENT_LOWAT", unix.TCP_NOTSENT_LOWAT, func(*Options) int { return notSentLowat },
		"the kernel takes megabytes for a client that does not read, despite the limits of the backlog"},
	{"TCP_USER_TIMEOUT", unix.TCP_USER_TIMEOUT, func(o *Options) int { return int(o.UserTimeout / time.Millisecond) },
		"a client whose line is gone is noticed by unanswered pings only"},
	{"TCP_DEFER_ACCEPT", unix.TCP_DEFER_ACCEPT, func(*Options) int { return deferAccept },
		"a connection is accepted before its request is there"},
}

// setOptional sets the optional socket options of a listener, and notes errors.
func (l *Loop) setOptional(fd int) {
	for i, m := range optionalSockopts {
		if err := l.opt.setsockopt(fd, unix.IPPROTO_TCP, m.opt, m.value(&l.opt)); err != nil && l.missing[i] == nil {
			l.missing[i] = err
		}
	}
}

// logMissing logs one warning for all socket options that could not be set.
func (l *Loop) logMissing() {
	var names, costs, errs []string
	for i, err := range l.missing {
		if err != nil {
			names, costs, errs = append(names, optionalSockopts[i].name), append(costs, optionalSockopts[i].costs), append(errs, err.Error())
		}
	}
	if names != nil {
		l.opt.Log.Warn("this host lacks some socket options; listeners work without them", zap.String("options", strings.Join(names, ", ")),
			zap.String("effect", strings.Join(costs, "; ")), zap.String("errors", strings.Join(errs, "; ")))
	}
}
