package broadcast

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Pushes to users go through the home of the user bucket, if the node has a Router:
//
//	relay   from the publishing node to the home (belfry.relay.<home>), if it is
//	        not the home itself
//	copy    from the home to each other node that has sessions of the users
//	        (belfry.node.<node>), or to all (belfry.user.<bucket>) while the home
//	        does not know which these are
//
// The relays of one node to one home are a stream: numbered from 1 without holes,
// with an epoch. The home takes them in this order only. It confirms them, by the
// number of the last one, when NATS has the copies. The publishing node keeps them
// until then. If no confirmation comes, it publishes what is not confirmed on the
// subject of the bucket, in order, retires the stream, and publishes directly from
// then on. A copy says which relay it came from, so that nodes drop what they have.
//
// Before the pushes of a bucket take another path, a fence follows the last one on the
// old path. Each node answers the fence. Until then pushes of the bucket wait.
//
// docs/adr/0019-routing-by-homes.md has the reasons.

// Router knows through which node pushes to users go, and which nodes have the users'
// sessions. Its methods are called from goroutines of the bus, and must not wait for
// other nodes. Package cluster implements it.
type Router interface {
	// Home returns the node through which pushes to the users of a bucket go. If ok is
	// false, they go to all nodes.
	Home(bucket uint16) (node uint32, ok bool)
	// Holders appends the other nodes that have, or may have, sessions of one of
	// uids, which are all of one bucket. If all is true, only all nodes together are
	// known to have them.
	Holders(dst []uint32, bucket uint16, uids []string) (nodes []uint32, all bool)
	// Verify says that a publishing node has not heard of this one for a while. What
	// this node knows of others may be out of date.
	Verify()
	// Lost says that the connection to NATS broke.
	Lost()
	// Overhears says that all relays reach this node, as Node.Overhear asked.
	Overhears()
}

// origin says which relay a message is: of which node, in which stream. The zero value
// says that it is none.
type origin struct {
	node   uint32
	epoch  uint64
	number uint64
}

// String returns the value of the header Belfry-Origin.
func (o origin) String() string { return nodeString(o.node) + " " + formatSeq(o.epoch, o.number) }

func parseOrigin(s string) (o origin, ok bool) {
	node, seq, found := strings.Cut(s, " ")
	if o.node, ok = parseNode(node); !ok || !found {
		return origin{}, false
	}
	o.epoch, o.number, ok = parseSeq(seq)
	return o, ok
}

// relayWindow is the number of relays to one home that are not confirmed. It is smaller
// than the number of messages that a node can receive before it processes them
// (Options.PendingBytes), so that a home that is slow slows its publishers down and loses
// nothing.
const relayWindow = 1024

// Times of routes.
const (
	confirmWait = time.Second            // without progress, after which relays go to all nodes
	fenceWait   = time.Second            // after which a fence counts as answered
	reopenWait  = time.Second            // between two attempts to use a home again
	routeTick   = 100 * time.Millisecond // between two looks at what is late
)

// What follows is the body of messages about routes: on belfry.ctl.fence to all nodes,
// and on belfry.ctl.route.<node> to one. Both are lines of the form
//
//	belfry 1 <node id> <what> <epoch or ref> <number>
//
// The node is the one that sends the message, except of a fence and of retire: there it is the
// one that publishes pushes.
type routeMessage struct {
	node   uint32
	what   string
	epoch  uint64 // of a stream of relays; of fence and passed: what the answer repeats
	number uint64
}

const (
	routeFence   = "fence"   // to all: answer, when everything before it has arrived
	routeRetire  = "retire"  // to all: copies of the stream up to the number are late
	routeConfirm = "confirm" // to one: NATS has the copies of the stream up to the number
	routeRefuse  = "refuse"  // to one: relays of the stream above the number are not passed on
	routePassed  = "passed"  // to one: the answer to a fence
)

func (m routeMessage) append(dst []byte) []byte {
	return fmt.Appendf(dst, "belfry 1 %s %s %d %d\n", nodeString(m.node), m.what, m.epoch, m.number)
}

func parseRouteMessage(p []byte) (m routeMessage, err error) {
	line, rest := cutLine(p[:min(len(p), maxControlHead)])
	f := strings.Split(string(line), " ")
	if len(f) != 6 || f[0] != "belfry" || f[1] != "1" || len(rest) > 0 {
		return m, bad("route", "is not: belfry 1 node what epoch number")
	}
	var ok bool
	if m.node, ok = parseNode(f[2]); !ok {
		return m, bad("route", "invalid node id")
	}
	switch m.what = f[3]; m.what {
	case routeFence, routeRetire, routeConfirm, routeRefuse, routePassed:
	default:
		return m, bad("route", "allowed are fence, retire, confirm, refuse and passed")
	}
	if !parseUints(f[4:], &m.epoch, &m.number) || !validNumber(m.epoch) || m.number > maxNumber {
		return m, bad("route", "invalid epoch or number")
	}
	return m, nil
}

// What a relay is that is no push: the value of the header Belfry-Relay.
const (
	relayOpen  = "open"   // the home is to be used again
	relayFence = "fence " // followed by the number of a fence that the home sends to all nodes
	relaySync  = "sync "  // from a home to a node that it sent copies to: followed by what the answer repeats
)

func relayFenceValue(ref uint64) string { return relayFence + strconv.FormatUint(ref, 10) }

func relaySyncValue(ref uint64) string { return relaySync + strconv.FormatUint(ref, 10) }

// parseRelaySync reads the header Belfry-Relay of a question to a holder.
func parseRelaySync(s string) (ref uint64, ok bool) {
	number, sync := strings.CutPrefix(s, relaySync)
	ref, err := strconv.ParseUint(number, 10, 64)
	return ref, sync && err == nil && validNumber(ref)
}

// parseRelay reads the header Belfry-Relay: ref is 0 for open.
func parseRelay(s string) (ref uint64, ok bool) {
	if s == relayOpen {
		return 0, true
	}
	number, fence := strings.CutPrefix(s, relayFence)
	ref, err := strconv.ParseUint(number, 10, 64)
	return ref, fence && err == nil && validNumber(ref)
}
