package broadcast

import (
	"fmt"
	"strings"
)

// PublishPlain implements ControlBus.
func (b *NATS) PublishPlain(subject string, p []byte) error { return b.publishControl(subject, p) }

// PublishPlain publishes a message for NATS clients, not for nodes. Nothing is kept for
// later: without a connection it returns an error. It may wait for a write to a socket.
// p must not be changed afterwards. Nobody gets a message of a node without an address
// for NATS clients and other nodes.
func (n *Node) PublishPlain(subject string, p []byte) error {
	if !strings.HasPrefix(subject, subjectEvents) {
		return fmt.Errorf("bus: subject %q; allowed are those that begin with %s", subject, subjectEvents)
	}
	return n.bus.PublishPlain(subject, p)
}

// subjectEvents begins the subjects of events, which nodes do not subscribe to.
const subjectEvents = "belfry.events."
