package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"belfry/message"
	"belfry/ws"
)

// checkGrant checks what an authenticator granted. Every authenticator's grants are
// checked: a topic becomes a NATS subject, and user ids go into logs and headers.
func checkGrant(g *Grant) error {
	if g.UID != "" {
		if err := message.CheckUID(g.UID); err != nil {
			return err
		}
	}
	for _, topic := range g.Topics {
		if err := message.CheckTopic(topic); err != nil {
			return err
		}
	}
	if err := CheckPermissions(g.Subscribe, g.Publish); err != nil {
		return err
	}
	if err := CheckMeta(g.Meta); err != nil {
		return err
	}
	if err := CheckDeviceClass(g.DeviceClass); err != nil {
		return err
	}
	return g.Limits.check()
}

// CheckPermissions returns a *message.FieldError unless both lists are patterns that
// a Grant may have.
func CheckPermissions(subscribe, publish []string) error {
	if err := message.CheckPatterns(subscribe); err != nil {
		return message.Renamed(err, "subscribe")
	}
	return message.Renamed(message.CheckPatterns(publish), "publish")
}

// CheckMeta returns a *message.FieldError unless meta is empty or a JSON object of at
// most MaxMeta bytes.
func CheckMeta(meta []byte) error {
	switch {
	case len(meta) == 0:
		return nil
	case len(meta) > MaxMeta:
		return &message.FieldError{Field: "meta", Detail: fmt.Sprintf("%d bytes; allowed are up to %d", len(meta), MaxMeta)}
	case !bytes.HasPrefix(bytes.TrimLeft(meta, " \t\r\n"), []byte("{")) || !json.Valid(meta):
		return &message.FieldError{Field: "meta", Detail: "not a JSON object"}
	}
	return nil
}

// check returns a *message.FieldError if a limit is out of range.
func (l *SessionLimits) check() error {
	for _, it := range [...]struct {
		name string
		d    time.Duration
	}{{"ping_interval", l.PingInterval}, {"idle", l.Idle}, {"idle_read", l.IdleRead}, {"idle_write", l.IdleWrite}} {
		if it.d > maxTime {
			return &message.FieldError{Field: "limits." + it.name, Detail: fmt.Sprintf("%v; allowed are up to %v, 0 for the default and negative values for none", it.d, maxTime)}
		}
	}
	if l.Topics > maxTopicsOfSession {
		return &message.FieldError{Field: "limits.topics", Detail: fmt.Sprintf("%d; allowed are up to %d", l.Topics, maxTopicsOfSession)}
	}
	if l.Messages > maxRate {
		return &message.FieldError{Field: "limits.messages", Detail: fmt.Sprintf("%d a second; allowed are up to %d", l.Messages, maxRate)}
	}
	return nil
}

// maxRate is the most messages a second that a limit may allow.
const maxRate = 1 << 20

// expired returns the refusal of a grant that has ended already, nil if it has not.
func (o *Options) expired(g *Grant) *ws.Refusal {
	if g.Expires.IsZero() || g.Expires.After(o.now()) {
		return nil
	}
	return ws.Unauthorized("the credentials have expired").WithCause(CauseExpired)
}
