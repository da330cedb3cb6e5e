package broadcast

import (
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// A home confirms relays when nobody needs to send them again. With an external NATS
// that is when the server has the copies. An embedded server has them in the memory of
// the home's own process, and they would be lost with it: so the home asks the nodes to
// which it has sent copies. Each answers when it has received everything before the
// question. One question to a node covers all copies since the one before.

// holderSync is the question that is not answered yet. Owned by the sender's goroutine.
type holderSync struct {
	all     bool              // copies went to all nodes since the last question
	touched map[string]bool   // subjects of the nodes to which copies went
	ref     uint64            // of the question; 0: none is awaited
	await   map[uint32]bool   // nodes that have not answered
	due     map[uint32]origin // what is confirmed then
	until   time.Time
}

// touch records that a copy was published on a subject.
func (y *holderSync) touch(subject string) {
	if strings.HasPrefix(subject, subjectUser) {
		y.all = true
		return
	}
	if y.touched == nil {
		y.touched = make(map[string]bool)
	}
	y.touched[subject] = true
}

// ask asks the nodes that got copies, if no question is awaited, and confirms what they
// need not answer for.
func (s *sender) askHolders() {
	c := &s.confirms
	y := &c.sync
	if y.ref != 0 || len(c.due) == 0 {
		return
	}
	await := make(map[uint32]bool)
	for _, p := range s.present() {
		if y.all || y.touched[nodeSubject(p.ID)] {
			await[p.ID] = true
		}
	}
	y.all, y.touched = false, nil
	if len(await) == 0 {
		c.confirmed()
		return
	}
	y.ref, y.await, y.due = s.nextEpoch(), await, c.due
	y.until = s.bus.opt.clock.now().Add(confirmWait)
	c.due = make(map[uint32]origin)
	for node := range await {
		_ = s.bus.nc.PublishMsg(&nats.Msg{Subject: nodeSubject(node), Header: nats.Header{
			headerNode: {nodeString(s.bus.id)}, headerRelay: {relaySyncValue(y.ref)}}})
	}
}

// holderAnswered takes the answer of a node.
func (s *sender) holderAnswered(ref uint64, node uint32) {
	y := &s.confirms.sync
	if ref != y.ref || ref == 0 {
		return
	}
	if delete(y.await, node); len(y.await) == 0 {
		s.confirms.synced()
		s.askHolders()
	}
}

// tickHolders waits for no node that is gone. What is not answered in time is not
// confirmed: the publishing nodes send it again.
func (s *sender) tickHolders() {
	c := &s.confirms
	y := &c.sync
	if y.ref == 0 {
		return
	}
	present := make(map[uint32]bool)
	for _, p := range s.present() {
		present[p.ID] = true
	}
	for node := range y.await {
		if !present[node] {
			delete(y.await, node)
		}
	}
	switch {
	case len(y.await) == 0:
		c.synced()
	case s.bus.opt.clock.now().After(y.until):
		c.lose(y.due)
		y.ref, y.due = 0, nil
	default:
		return
	}
	s.askHolders()
}

// synced is called when all nodes have answered.
func (c *confirms) synced() {
	for node, o := range c.sync.due {
		c.safe[node] = o
	}
	c.sync.ref, c.sync.due = 0, nil
}

// syncAsked answers the question of a home.
func (r *receiver) syncAsked(m *nats.Msg) {
	node, _, err := one(m.Header, headerNode)
	home, ok := parseNode(node)
	if err == nil && !ok {
		err = bad(headerNode, "allowed are 8 lower-case hexadecimal digits")
	}
	text, _, err2 := one(m.Header, headerRelay)
	if err == nil {
		err = err2
	}
	ref, ok := parseRelaySync(text)
	if err == nil && !ok {
		err = bad(headerRelay, "allowed is sync")
	}
	if err != nil {
		r.malformed(m, err)
		return
	}
	r.bus.tellRoute(home, routeMessage{node: r.bus.id, what: routePassed, epoch: ref})
}
