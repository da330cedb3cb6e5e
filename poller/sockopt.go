package poller

import (
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"
)

// notSentLowat bounds what the kernel takes of a peer that does not read
// (man 7 tcp, TCP_NOTSENT_LOWAT): without it that is megabytes, and every
// bound on our own backlog would be fiction.
const notSentLowat = 16 << 10

// deferAccept is for how long the kernel may keep a connection that has sent
// nothing yet, in seconds (man 7 tcp, TCP_DEFER_ACCEPT): the request is then
// there when it is accepted.
const deferAccept = 3

// optionalSockopt is a socket option that a listener does without where there is
// none (Multipath TCP, gVisor).
type optionalSockopt struct {
	name  string
	opt   int
	value func(*Options) int
	costs string // what it is like without
}

// optionalSockopts are those of IPPROTO_TCP. Connections inherit them.
var optionalSockopts = [...]optionalSockopt{
	{"TCP_NODELAY", unix.TCP_NODELAY, func(*Options) int { return 1 },
		"messages may be held back for up to 40 ms"},
	{"TCP_NOTSENT_LOWAT", unix.TCP_NOTSENT_LOWAT, func(*Options) int { return notSentLowat },
		"the kernel takes megabytes for a client that does not read, beside the bounds of the backlog"},
	{"TCP_USER_TIMEOUT", unix.TCP_USER_TIMEOUT, func(o *Options) int { return int(o.UserTimeout / time.Millisecond) },
		"a client whose line is gone is noticed by unanswered pings only"},
	{"TCP_DEFER_ACCEPT", unix.TCP_DEFER_ACCEPT, func(*Options) int { return deferAccept },
		"a connection is accepted before its request is there"},
}

// setOptional sets what only improves a listener, and notes what it cannot.
func (l *Loop) setOptional(fd int) {
	for i, m := range optionalSockopts {
		if err := l.opt.setsockopt(fd, unix.IPPROTO_TCP, m.opt, m.value(&l.opt)); err != nil && l.missing[i] == nil {
			l.missing[i] = err
		}
	}
}

// logMissing warns once of the socket options that listeners go without.
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
