package broadcast

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"belfry/message"
)

// routeSim is a cluster without NATS, in virtual time and on one goroutine: the real
// routes, relayInbox and marks of each node, and a network that keeps the order of what
// one node sends to another and nothing else.
type routeSim struct {
	t     *testing.T
	rand  *rand.Rand
	now   time.Time
	nodes []*simNode
	wires map[[2]int][]simPacket
	users []string // one for each of a few buckets, and some in the same bucket
	homes []int    // by user: node that is home now
	seen  [][]int  // by node and user: node that is home as this node sees it
	next  map[string]int
	pause time.Duration // longest delay of a packet
	stops bool          // nodes are stopped and lose copies
}

// simPacket is what one node sent to another.
type simPacket struct {
	at      time.Time
	relay   bool // on the relay subject of the home, else a push or a message about routes
	home    uint32
	part    part
	origin  origin // of a copy; of a relay its number
	message *routeMessage
}

type simNode struct {
	sim     *routeSim
	i       int
	routes  *routes
	inbox   relayInbox
	marks   marks
	box     []part
	dead    bool
	stopped bool // as by SIGSTOP
	holds   map[string]bool
	got     map[string][]string // by user: payloads
	epoch   uint64
	due     []origin
	count   routeCounters
	full    bool // the outbox refuses relays
	unsure  bool // as a home it does not know who has the users
}

func newRouteSim(t *testing.T, seed uint64, nodes, users int) *routeSim {
	s := &routeSim{t: t, rand: rand.New(rand.NewPCG(seed, 1)), now: time.Unix(1e9, 0), wires: make(map[[2]int][]simPacket), next: make(map[string]int), pause: 20 * time.Millisecond}
	for u := range users {
		s.users = append(s.users, uidInBucket(uint16(u%3), u/3))
		s.homes = append(s.homes, s.rand.IntN(nodes))
	}
	for u := range users { // a bucket has one home
		s.homes[u] = s.homes[u%3]
	}
	for i := range nodes {
		n := &simNode{sim: s, i: i, inbox: relayInbox{make(map[uint32]*relayIn)}, marks: marks{make(map[uint32]map[uint64]*mark)},
			holds: make(map[string]bool), got: make(map[string][]string), epoch: uint64(i+1) * 1e6}
		n.routes = newRoutes(n.id(), n, func() time.Time { return s.now }, &n.count, zap.NewNop())
		n.routes.use(n)
		n.routes.window, n.routes.most = 12, 40
		for _, uid := range s.users {
			n.holds[uid] = s.rand.IntN(2) == 0
		}
		s.nodes = append(s.nodes, n)
		s.seen = append(s.seen, slices.Clone(s.homes))
	}
	return s
}

func (n *simNode) id() uint32 { return uint32(n.i + 1) }

// carry puts a packet on the wire to one node.
func (n *simNode) carry(to int, p simPacket) {
	if to == n.i {
		return
	}
	w := [2]int{n.i, to}
	p.at = n.sim.now.Add(time.Duration(n.sim.rand.Int64N(int64(n.sim.pause))))
	if q := n.sim.wires[w]; len(q) > 0 && p.at.Before(q[len(q)-1].at) {
		p.at = q[len(q)-1].at
	}
	n.sim.wires[w] = append(n.sim.wires[w], p)
}

func (n *simNode) toAll(p simPacket) {
	for to := range n.sim.nodes {
		n.carry(to, p)
	}
}

// The simNode is the outlet of its routes.

func (n *simNode) direct(subject string, p *part, o origin) bool {
	packet := simPacket{part: *p, origin: o}
	if _, ok := userBucketOfSubject(subject); ok {
		n.toAll(packet)
		return true
	}
	for _, other := range n.sim.nodes {
		if nodeSubject(other.id()) == subject {
			n.carry(other.i, packet)
		}
	}
	return true
}

func (n *simNode) relay(home uint32, p *part, o origin) bool {
	if home == n.id() { // only nodes that overhear receive it
		return true
	}
	n.carry(int(home-1), simPacket{relay: true, home: home, part: *p, origin: o})
	return true
}

func (n *simNode) fence(publisher uint32, ref uint64) bool {
	n.toAll(simPacket{message: &routeMessage{publisher, routeFence, ref, 0}})
	return true
}

func (n *simNode) retire(epoch, last uint64) bool {
	n.toAll(simPacket{message: &routeMessage{n.id(), routeRetire, epoch, last}})
	return true
}

func (n *simNode) tell(node uint32, m routeMessage) {
	n.carry(int(node-1), simPacket{message: &m})
}

func (n *simNode) confirm(o origin) { n.due = append(n.due, o) }
func (n *simNode) refuse(o origin) {
	n.tell(o.node, routeMessage{n.id(), routeRefuse, o.epoch, o.number})
	n.tell(o.node, routeMessage{n.id(), routePassed, o.epoch, 0})
}
func (n *simNode) free(*part)        {}
func (n *simNode) nextEpoch() uint64 { n.epoch++; return n.epoch }

func (n *simNode) present() (peers []Peer) {
	for _, other := range n.sim.nodes {
		if other != n && !other.dead {
			peers = append(peers, Peer{ID: other.id()})
		}
	}
	return peers
}

// The simNode is its Router too.

func (n *simNode) Home(bucket uint16) (uint32, bool) {
	return uint32(n.sim.seen[n.i][bucket] + 1), true
}

func (n *simNode) Holders(dst []uint32, _ uint16, uids []string) ([]uint32, bool) {
	for _, other := range n.sim.nodes {
		if other != n && slices.ContainsFunc(uids, func(uid string) bool { return other.holds[uid] }) {
			dst = append(dst, other.id())
		}
	}
	return dst, n.unsure
}

func (n *simNode) Verify()    {}
func (n *simNode) Lost()      {}
func (n *simNode) Overhears() {}

// deliver gives a push to the sessions of the node.
func (n *simNode) deliver(p *part) {
	for _, uid := range p.names {
		if n.holds[uid] {
			n.got[uid] = append(n.got[uid], string(p.message.Payload))
		}
	}
}

// receive takes a packet, as receiver does.
func (n *simNode) receive(p simPacket) {
	switch {
	case p.message != nil:
		n.hear(*p.message)
	case p.relay:
		s, take, refuse := n.inbox.next(stamp(p.origin), n.sim.now)
		if take && n.full {
			s.last--
			take, refuse = false, n.inbox.refuse(s, n.sim.now)
		}
		if refuse {
			n.box = append(n.box, part{forward: true, refuse: true, origin: origin{p.origin.node, s.epoch, s.last}})
		}
		if !take {
			return
		}
		f := p.part
		f.origin, f.forward = p.origin, true
		if ref, ok := parseRelay(f.special); ok && ref != 0 {
			f.fence = ref
			n.tell(p.origin.node, routeMessage{n.id(), routePassed, ref, 0})
		}
		n.box = append(n.box, f)
		n.marks.first(p.origin, n.sim.now, true)
		if f.message != nil {
			n.deliver(&f)
		}
	case p.origin.node == n.id():
	case p.origin.epoch != 0 && !n.marks.first(p.origin, n.sim.now, false):
	default:
		n.deliver(&p.part)
	}
}

func (n *simNode) hear(m routeMessage) {
	switch m.what {
	case routeFence:
		if m.node != n.id() {
			n.tell(m.node, routeMessage{n.id(), routePassed, m.epoch, 0})
		}
	case routeRetire:
		n.marks.retire(origin{m.node, m.epoch, m.number}, n.sim.now)
	default:
		n.routes.heard(m)
	}
}

// work does what the sender does in one iteration.
func (n *simNode) work() {
	n.routes.tick()
	for len(n.routes.urgent) > 0 || len(n.box) > 0 {
		var p part
		if u := n.routes.urgent; len(u) > 0 {
			p, n.routes.urgent = u[0], u[1:]
		} else {
			p, n.box = n.box[0], n.box[1:]
		}
		switch {
		case p.forward:
			n.routes.forward(&p)
		case p.retire.epoch != 0:
			n.retire(p.retire.epoch, p.retire.number)
		case p.again:
			n.routes.republish(&p)
		default:
			n.routes.send(&p)
		}
	}
	for _, o := range n.due {
		n.tell(o.node, routeMessage{n.id(), routeConfirm, o.epoch, o.number})
	}
	n.due = nil
}

// push publishes to one user on a node.
func (n *simNode) push(u int) {
	uid := n.sim.users[u]
	from := fmt.Sprint(n.i, ">", uid)
	text := fmt.Sprint(n.i, ":", n.sim.next[from])
	n.sim.next[from]++
	p := part{subject: userBucketSubject(UserBucket(uid)), users: true, bucket: UserBucket(uid), names: []string{uid},
		message: &message.Message{ID: text, Payload: []byte(text), Target: message.ToUsers(uid)}}
	n.deliver(&p)
	n.box = append(n.box, p)
}

// step lets a millisecond pass.
func (s *routeSim) step() {
	s.now = s.now.Add(time.Millisecond)
	wires := slices.Collect(maps.Keys(s.wires))
	slices.SortFunc(wires, func(a, b [2]int) int { return slices.Compare(a[:], b[:]) })
	s.rand.Shuffle(len(wires), func(i, j int) { wires[i], wires[j] = wires[j], wires[i] })
	for _, w := range wires {
		q, to := s.wires[w], s.nodes[w[1]]
		for len(q) > 0 && !q[0].at.After(s.now) && !to.stopped {
			if p := q[0]; !to.dead {
				to.receive(p)
			}
			q = q[1:]
		}
		if s.wires[w] = q; len(q) == 0 {
			delete(s.wires, w)
		}
	}
	for _, n := range s.nodes {
		if !n.dead && !n.stopped {
			n.work()
		}
	}
}

// check compares what nodes got with what was pushed.
func (s *routeSim) check() {
	s.t.Helper()
	for _, n := range s.nodes {
		for _, uid := range s.users {
			if n.dead || !n.holds[uid] {
				continue
			}
			at := make([]int, len(s.nodes))
			for _, text := range n.got[uid] {
				var from, number int
				fmt.Sscanf(text, "%d:%d", &from, &number)
				if number < at[from] || number > at[from] && !s.stops {
					s.t.Fatalf("node %d, user %s: got number %d of node %d after %d", n.i, uid, number, from, at[from]-1)
				}
				at[from] = number + 1
			}
			for from := range s.nodes {
				if pushed := s.next[fmt.Sprint(from, ">", uid)]; at[from] != pushed && !s.nodes[from].dead && !s.stops {
					s.t.Fatalf("node %d, user %s: got %d of %d pushes of node %d", n.i, uid, at[from], pushed, from)
				}
			}
		}
	}
}

// move makes another node the home of a bucket: nodes see it one after the other.
func (s *routeSim) move(bucket, to int) {
	for u := bucket; u < len(s.users); u += 3 {
		s.homes[u] = to
	}
}

// see lets a node see where homes are, with probability 1 in chance.
func (s *routeSim) see(chance int) {
	for i := range s.nodes {
		if s.rand.IntN(chance) == 0 {
			s.seen[i] = slices.Clone(s.homes)
		}
	}
}
