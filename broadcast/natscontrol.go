package broadcast

import (
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// maxCommands is the number of control messages that wait between nats.go and
// Control.
const maxCommands = 1024

// isControl reports whether control messages for Control come on subject.
func isControl(subject string) bool {
	return subject == subjectEvery || strings.HasPrefix(subject, subjectOne) || strings.HasPrefix(subject, subjectRoute)
}

// StartControl implements ControlBus.
func (b *NATS) StartControl(r ControlReceiver) {
	b.control = r
	b.started.Store(&r)
	b.wg.Add(1)
	go b.receiveControl()
}

// receiveControl is the goroutine that takes control messages. They have their own
// channel, so that neither many pushes nor full mailboxes delay them.
func (b *NATS) receiveControl() {
	defer b.wg.Done()
	for {
		select {
		case m := <-b.commands:
			b.commandHeard(m)
		case p := <-b.pauses.control:
			if !p.run(b.stop) {
				return
			}
		case <-b.stop:
			return
		}
	}
}

func (b *NATS) commandHeard(m *nats.Msg) {
	b.came(1, m)
	switch {
	case !passes(&b.lateCommands, m, b.opt.clock.now()):
	case m.Header[headerProbe] != nil: // see probe.go
	case strings.HasPrefix(m.Subject, subjectRoute):
		b.routeHeard(m)
	default:
		b.control.Received(m.Data)
	}
}

// tellUp tells Control that the connection is there and the subscriptions are in
// place. It is called when either has become true.
func (b *NATS) tellUp() {
	if b.connected.Load() && b.interest.begun.Load() != 0 {
		b.control.Up()
	}
}

// PublishControl implements ControlBus.
func (b *NATS) PublishControl(p []byte) error { return b.publishControl(subjectEvery, p) }

// SendControl implements ControlBus.
func (b *NATS) SendControl(node uint32, p []byte) error {
	return b.publishControl(controlSubject(node), p)
}

func (b *NATS) publishControl(subject string, p []byte) error {
	if b.Alone() {
		return nil
	}
	if !b.connected.Load() {
		return fmt.Errorf("no connection to NATS: %s", *b.connectErr.Load())
	}
	if err := b.nc.PublishMsg(&nats.Msg{Subject: subject, Data: p}); err != nil {
		return fmt.Errorf("NATS: %w", err)
	}
	return nil
}

// Beacon implements ControlBus.
func (b *NATS) Beacon() { wakeUp(b.sender.due) }

// Lease implements ControlBus.
func (b *NATS) Lease() time.Duration { return b.receiver.roster.timeout() }

// leftWait is how long Close waits for the last beacon, which says that the node
// has left. Without it the others notice when the lease is over.
const leftWait = 500 * time.Millisecond

// sayLeft waits until the sender has published its last beacon, and NATS has it.
func (b *NATS) sayLeft() {
	if b.Alone() || b.started.Load() == nil || !b.connected.Load() || b.passing.over.Load() {
		return
	}
	select {
	case <-b.sender.ended:
		_ = b.nc.FlushTimeout(leftWait)
	case <-time.After(leftWait): // it waits for a server that is slow or dead
	}
}

// Peers implements ControlBus.
func (b *NATS) Peers() []Peer { return b.receiver.roster.view.Load().present }

// Alone implements ControlBus.
func (b *NATS) Alone() bool {
	e := &b.opt.Embedded
	return len(b.opt.URLs) == 0 && e.Listen == "" && e.ClusterListen == ""
}
