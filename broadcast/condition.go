package broadcast

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Condition has the reasons why messages do not reach other nodes now, as texts
// for people.
type Condition struct {
	Unready  []string // reasons for which the node should get no traffic
	Degraded []string // reasons that affect other nodes only: this node's clients are served
}

// Condition implements Bus.
func (b *NATS) Condition() (c Condition) {
	messages, bytes := b.box.depth()
	switch {
	case b.stopped():
		c.Unready = append(c.Unready, "bus: closed")
	case !b.connected.Load():
		reason := fmt.Sprintf("bus: no connection to NATS at %s (%s); outbox holds %d of %d messages, %d of %d bytes",
			b.servers(), *b.connectErr.Load(), messages, b.opt.OutboxMessages, bytes, b.opt.OutboxBytes)
		if b.reachable.Load() {
			c.Degraded = append(c.Degraded, reason)
		} else {
			c.Unready = append(c.Unready, reason)
		}
	case b.cannotPublish() != "":
		c.Unready = append(c.Unready, "bus: pushes are refused: "+b.cannotPublish())
	case b.unusable.Load() != nil:
		c.Unready = append(c.Unready, "bus: "+*b.unusable.Load())
	case b.permissionErr.Load() != nil:
		c.Unready = append(c.Unready, "bus: "+*b.permissionErr.Load())
	case !b.reachable.Load() && !b.inspected.Load():
		c.Unready = append(c.Unready, "bus: checking the permissions at NATS")
	}
	if b.server != nil && b.server.log.routesRefused() {
		c.Degraded = append(c.Degraded, "bus: another node refuses the routes of this one: set the same nats.cluster_user and nats.cluster_password on all nodes")
	}
	for _, u := range b.receiver.roster.view.Load().unheard {
		if u.never {
			c.Unready = append(c.Unready, u.String())
		} else {
			c.Degraded = append(c.Degraded, u.String())
		}
	}
	return c
}

// servers returns the NATS servers as text, without user names and passwords.
func (b *NATS) servers() string {
	if b.server != nil {
		return "this process"
	}
	names := make([]string, len(b.opt.URLs))
	for i, text := range b.opt.URLs {
		names[i] = withoutUser(text)
	}
	return strings.Join(names, ", ")
}

// withoutUser removes user name and password, or a token, from a URL.
func withoutUser(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return u.Scheme + "://" + u.Host
	}
	return text[strings.LastIndexByte(text, '@')+1:]
}

// conditionEvery is the interval at which the log repeats that the bus does not
// work.
const conditionEvery = time.Minute

// conditionLog logs the reasons that /readyz shows, at once and then every
// minute.
type conditionLog struct {
	bus *NATS

	mu     sync.Mutex // guards logged
	logged time.Time
}

// check looks for a new connection error and logs the condition. It runs on the
// receiver's goroutine.
func (l *conditionLog) check(now time.Time) {
	if b := l.bus; !b.connected.Load() {
		// nats.go calls no handler if the server refuses the password of the
		// first connection.
		if err := b.nc.LastError(); err != nil && !b.connected.Load() {
			b.setConnectErr(err)
		}
	}
	l.log(now)
}

// log logs the condition, unless there are no reasons or it was logged within
// the last minute.
func (l *conditionLog) log(now time.Time) {
	c := l.bus.Condition()
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(c.Unready)+len(c.Degraded) == 0 {
		l.logged = time.Time{}
		return
	}
	if !l.logged.IsZero() && now.Sub(l.logged) < conditionEvery {
		return
	}
	l.logged = now
	fields := []zap.Field{zap.String("effect", "clients of this node are served, and pushes to this node reach them; messages for other nodes wait or are refused")}
	if len(c.Unready) > 0 {
		fields = append(fields, zap.Strings("not_ready", c.Unready))
	}
	if len(c.Degraded) > 0 {
		fields = append(fields, zap.Strings("degraded", c.Degraded))
	}
	l.bus.log.Warn("messages do not reach all other nodes", fields...)
}
