package broadcast

import (
	"fmt"
	"net/url"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Condition is what keeps messages from reaching other nodes now.
type Condition struct {
	Unready  []string // the node should get no traffic
	Degraded []string // its own clients are served, as they were before
}

// Condition implements Bus.
func (b *NATS) Condition() (c Condition) {
	messages, bytes := b.box.depth()
	switch {
	case b.stopped():
		c.Unready = append(c.Unready, "bus: closed")
	case !b.connected.Load():
		why := fmt.Sprintf("bus: no connection to NATS at %s (%s); outbox holds %d of %d messages, %d of %d bytes",
			b.servers(), *b.connectErr.Load(), messages, b.opt.OutboxMessages, bytes, b.opt.OutboxBytes)
		if b.reachable.Load() {
			c.Degraded = append(c.Degraded, why)
		} else {
			c.Unready = append(c.Unready, why)
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
		c.Degraded = append(c.Degraded, "bus: another node refuses the routes of this one: nats.cluster_user and nats.cluster_password have to be the same at all nodes")
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

// servers names the NATS servers, without user names and passwords.
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

// withoutUser takes user name and password, or a token, out of a URL.
func withoutUser(text string) string {
	if u, err := url.Parse(text); err == nil && u.Host != "" {
		return u.Scheme + "://" + u.Host
	}
	return text[strings.LastIndexByte(text, '@')+1:]
}

// conditionEvery is how often it is said again that the bus does not work.
const conditionEvery = time.Minute

// conditionLog says in the log what /readyz says, at once and then every minute.
type conditionLog struct {
	bus *NATS

	mu     sync.Mutex // guards told
	logged time.Time
}

// check finds the newest reason and says it. It runs on the receiver's goroutine.
func (l *conditionLog) check(now time.Time) {
	if b := l.bus; !b.connected.Load() {
		// nats.go tells of no failure of a first connection that got as far as
		// being refused for its password.
		if err := b.nc.LastError(); err != nil && !b.connected.Load() {
			b.setConnectErr(err)
		}
	}
	l.log(now)
}

// log logs the condition unless it is good, or was logged within the minute.
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
	fields := []zap.Field{zap.String("effect", "clients of this node are served; pushes here reach them, and what is for other nodes waits or is refused")}
	if len(c.Unready) > 0 {
		fields = append(fields, zap.Strings("not_ready", c.Unready))
	}
	if len(c.Degraded) > 0 {
		fields = append(fields, zap.Strings("degraded", c.Degraded))
	}
	l.bus.log.Warn("messages do not reach all other nodes", fields...)
}
