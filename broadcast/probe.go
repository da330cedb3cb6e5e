package broadcast

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// What can be known of a NATS server is found out when the connection is made:
// whether it has headers, its max_payload, and what it permits. A node that
// cannot reach the others through it is not ready, and refuses pushes instead
// of losing what they have for other nodes.

// headerProbe marks a message that is published only to learn whether NATS
// permits it. Nodes drop it.
const headerProbe = "Belfry-Probe"

// inspectAgain is how long after permissions were found wanting they are asked
// for again: they can be mended without a new connection.
const inspectAgain = 10 * time.Second

// envelopeLeast is what a server must allow above the largest payload: what the
// envelope of a message to one target takes.
const envelopeLeast = 4096

// inspection is what the sender has looked at. Owned by its goroutine.
type inspection struct {
	done       bool
	connection uint64
	at         time.Time
}

// inspectServer looks at what a new connection says of itself. It runs on nats.go's
// callback goroutine.
func (b *NATS) inspectServer(nc *nats.Conn) {
	var unfit, refusal *string
	if !nc.HeadersSupported() {
		s := "the NATS server does not support headers (no_header_support), without which no message reaches another node; remove that setting there"
		unfit, refusal = &s, &s
	} else if allowed, least := nc.MaxPayload(), int64(b.opt.MaxPayload)+envelopeLeast; b.server == nil && allowed < least {
		s := fmt.Sprintf("the NATS server's max_payload is %d; needed is at least %d, api.max_payload and the envelope: raise it there, or lower api.max_payload",
			allowed, least)
		unfit = &s
	}
	b.unusable.Store(unfit)
	b.noHeaders.Store(refusal)
	if unfit != nil {
		b.log.Error("this NATS server cannot be used", zap.String("detail", *unfit))
	}
}

// cannotPublish says why messages for other nodes are refused, "" if they are not.
func (b *NATS) cannotPublish() string {
	for _, detail := range []*string{b.noHeaders.Load(), b.publishDenied.Load()} {
		if detail != nil {
			return *detail
		}
	}
	return ""
}

// inspect finds out what a new connection permits, and asks again where that
// was not enough. It returns whether this connection has been looked at.
func (s *sender) inspect() (looked bool) {
	defer s.bus.faults.caught("inspect")
	b := s.bus
	if b.server != nil {
		return true // the embedded server permits its own node everything
	}
	connection, now := b.connection(), time.Now()
	if !b.nc.IsConnected() || b.upFor.Load() != connection+1 {
		return false // up has not run for it yet
	}
	if s.inspected.done && s.inspected.connection == connection &&
		(b.publishDenied.Load() == nil || now.Sub(s.inspected.at) < inspectAgain) {
		return true
	}
	refused, err := s.probe()
	if err != nil || b.connection() != connection { // it broke: the next one is looked at
		return false
	}
	s.inspected = inspection{done: true, connection: connection, at: now}
	switch {
	case refused == nil && b.publishDenied.Swap(nil) != nil: // mended meanwhile
		b.permissionErr.Store(nil)
	case refused == nil:
	case strings.Contains(refused.Error(), violatesPublish):
		b.denyPublish(refused)
	default:
		detail := refused.Error()
		b.permissionErr.Store(&detail)
	}
	b.inspected.Store(true)
	if b.unusable.Load() == nil && b.permissionErr.Load() == nil && b.publishDenied.Load() == nil {
		b.reachable.Store(true)
	}
	return true
}

// violatesPublish is in NATS' text about a message that it did not permit.
const violatesPublish = "Permissions Violation for Publish"

func (b *NATS) denyPublish(err error) {
	s := fmt.Sprintf("%v; this node needs to publish and subscribe to belfry.>", err)
	b.publishDenied.Store(&s)
}

// probe publishes and subscribes to one subject of each kind. refused is the
// violation that NATS answered with, if any.
func (s *sender) probe() (refused, err error) {
	b := s.bus
	before := b.nc.LastError()
	violation := func() error {
		if err := b.nc.LastError(); err != before && errors.Is(err, nats.ErrPermissionViolation) {
			return err
		}
		return nil
	}
	token := "belfry-probe-" + s.instance
	if b.nc.HeadersSupported() {
		for _, subject := range []string{subjectAll, subjectTopic + token, subjectUser + token, b.self, subjectBeacon, subjectPeers} {
			if err := b.nc.PublishMsg(&nats.Msg{Subject: subject, Header: nats.Header{headerProbe: {"1"}}}); err != nil {
				return nil, err
			}
		}
		if err := b.nc.FlushTimeout(flushWait); err != nil {
			return nil, err
		}
		if refused := violation(); refused != nil {
			return refused, nil
		}
	}
	topic, err := b.nc.SubscribeSync(subjectTopic + token)
	if err != nil {
		return nil, err
	}
	defer topic.Unsubscribe()
	user, err := b.nc.QueueSubscribeSync(subjectUser+token, b.interest.group)
	if err != nil {
		return nil, err
	}
	defer user.Unsubscribe()
	if err := b.nc.FlushTimeout(flushWait); err != nil {
		return nil, err
	}
	return violation(), nil
}
