package broadcast

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"
)

// A node checks a NATS server when it connects: whether the server supports
// headers, its max_payload, and which permissions it grants. If the node cannot
// reach other nodes through this server, it is not ready. If it cannot publish,
// it refuses pushes: otherwise their messages for other nodes would be lost.

// headerProbe marks a message that is published only to learn whether NATS
// permits it. Nodes drop it.
const headerProbe = "Belfry-Probe"

// inspectAgain is the time after which refused permissions are checked again: an
// operator can grant them without a new connection.
const inspectAgain = 10 * time.Second

// envelopeLeast is the size in bytes of the envelope of a message to one target.
// The server's max_payload must exceed the largest payload by it.
const envelopeLeast = 4096

// inspection says which connection the sender has checked. Owned by its
// goroutine.
type inspection struct {
	done       bool
	connection uint64
	at         time.Time
}

// inspectServer checks what the server says about itself. It runs on nats.go's
// callback goroutine.
func (b *NATS) inspectServer(nc *nats.Conn) {
	var unusable, noHeaders *string
	if !nc.HeadersSupported() {
		s := "the NATS server does not support headers, which every message to another node needs: remove no_header_support from its configuration"
		unusable, noHeaders = &s, &s
	} else if allowed, least := nc.MaxPayload(), int64(b.opt.MaxPayload)+envelopeLeast; b.server == nil && allowed < least {
		s := fmt.Sprintf("the NATS server's max_payload is %d; it must be at least %d (api.max_payload and the envelope): raise it there, or lower api.max_payload",
			allowed, least)
		unusable = &s
	}
	b.unusable.Store(unusable)
	b.noHeaders.Store(noHeaders)
	if unusable != nil {
		b.log.Error("this NATS server cannot be used", zap.String("detail", *unusable))
	}
}

// cannotPublish returns the reason why messages for other nodes are refused, ""
// if they are not.
func (b *NATS) cannotPublish() string {
	for _, detail := range []*string{b.noHeaders.Load(), b.publishDenied.Load()} {
		if detail != nil {
			return *detail
		}
	}
	return ""
}

// inspect checks which permissions a new connection has, and checks again later
// if the permission to publish was refused. It reports whether the present
// connection has been checked.
func (s *sender) inspect() (done bool) {
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
	if err != nil || b.connection() != connection { // the connection broke: the next one is checked
		return false
	}
	s.inspected = inspection{done: true, connection: connection, at: now}
	switch {
	case refused == nil && b.publishDenied.Swap(nil) != nil: // granted meanwhile
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

// violatesPublish is a part of the NATS server's error for a message that it does
// not permit.
const violatesPublish = "Permissions Violation for Publish"

// denyPublish makes Reserve refuse messages, since NATS refused the permission to
// publish.
func (b *NATS) denyPublish(err error) {
	s := fmt.Sprintf("%v; this node needs to publish and subscribe to belfry.>", err)
	b.publishDenied.Store(&s)
}

// probe publishes to one subject of each kind and subscribes to it. refused is
// the permission violation of the NATS server, nil if it permits everything.
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
		for _, subject := range []string{subjectAll, subjectTopic + token, subjectUser + token, b.self, subjectBeacon, subjectPeers, subjectEvery, controlSubject(b.id)} {
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
	user, err := b.nc.SubscribeSync(subjectUser + token)
	if err != nil {
		return nil, err
	}
	defer user.Unsubscribe()
	if err := b.nc.FlushTimeout(flushWait); err != nil {
		return nil, err
	}
	return violation(), nil
}
