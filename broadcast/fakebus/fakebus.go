// Package fakebus is a bus in memory, for tests: a Network stands for NATS, and
// each node gets a Bus of it. It needs no sockets, so that tests can use virtual
// time (testing/synctest). A test can make messages late, drop them, cut nodes off,
// and split the network.
//
// Every message reaches every other node, as if each was interested in every user
// and topic. Nothing is lost or reordered unless the test says so.
package fakebus

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"belfry/broadcast"
	"belfry/message"
)

// Network carries the messages of its buses.
type Network struct {
	// Delay is the time that each message takes.
	Delay time.Duration
	// Drop says that a control message is lost. It may be nil, and is not
	// changed after the first Join.
	Drop func(from, to string, p []byte) bool
	// Every is the time between two beacons of a node; 0: beacons come only when a
	// node starts, is back, or calls Beacon.
	Every time.Duration

	mu    sync.Mutex // guards buses and the state of each
	buses []*Bus
}

// queueLength is the number of messages that may be on their way to one node.
const queueLength = 1 << 16

// Join adds a node. Its name must be the Options.NodeName of the node.
func (n *Network) Join(name string) *Bus {
	b := &Bus{net: n, self: broadcast.Peer{ID: broadcast.NodeID(name), Name: name}, queue: make(chan delivery, queueLength), done: make(chan struct{})}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.buses = append(n.buses, b)
	return b
}

// Bus implements broadcast.Bus for one node.
type Bus struct {
	net   *Network
	self  broadcast.Peer
	queue chan delivery
	done  chan struct{}
	ended sync.WaitGroup

	control broadcast.ControlReceiver
	receive func(*message.Message)

	// Guarded by Network.mu.
	started, cut, closed bool
	lost                 bool // the others have noticed that the node is gone
	side                 int  // nodes reach those on the same side of a split
}

// delivery is what is on its way to a node: it is given to the node at its time.
type delivery struct {
	at   time.Time
	give func()
}

// send puts a delivery into the queue of to. Network.mu is held.
func (n *Network) send(to *Bus, give func()) {
	to.queue <- delivery{time.Now().Add(n.Delay), give}
}

// reaches reports whether messages of b reach other. Network.mu is held.
func (b *Bus) reaches(other *Bus) bool {
	return other != b && b.started && other.started && !b.cut && !other.cut && !b.closed && !other.closed && b.side == other.side
}

// Split puts nodes on a side of the network. Those on different sides, which begin
// with 0, do not reach each other. Nobody is told: nodes notice that beacons do not
// come. As with the routes of embedded NATS servers, no node loses its own
// connection.
func (n *Network) Split(side int, buses ...*Bus) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, b := range buses {
		b.side = side
	}
}

// Cut makes messages from and to this node get lost. The other nodes, and this
// one, do not notice before Lose.
func (b *Bus) Cut() { b.set(func() { b.cut = true }) }

// Lose makes the other nodes and this one notice that they do not hear each other.
func (b *Bus) Lose() { b.set(func() { b.cut, b.lost = true, true }) }

// Heal ends Cut and Lose.
func (b *Bus) Heal() {
	b.set(func() {
		lost := b.lost
		b.cut, b.lost = false, false
		if lost {
			b.announce()
		}
		b.net.send(b, b.control.Up)
	})
}

func (b *Bus) set(f func()) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	f()
}

// announce tells this node and those that it reaches of each other. Network.mu is
// held.
func (b *Bus) announce() {
	for _, other := range b.net.buses {
		if b.reaches(other) {
			b.net.send(other, func() { other.control.PeerUp(b.self) })
			b.net.send(b, func() { b.control.PeerUp(other.self) })
			b.show(other)
			other.show(b)
		}
	}
}

// show sends a beacon of b to other. Network.mu is held.
func (b *Bus) show(other *Bus) {
	s := broadcast.Sighting{Peer: b.self, Status: b.control.Status()}
	b.net.send(other, func() { other.control.Heard(s) })
}

// Beacon implements broadcast.ControlBus.
func (b *Bus) Beacon() {
	b.set(func() {
		for _, other := range b.net.buses {
			if b.reaches(other) {
				b.show(other)
			}
		}
	})
}

// Lease implements broadcast.ControlBus.
func (b *Bus) Lease() time.Duration { return max(4*b.net.Every, time.Second) }

// beacons publishes beacons.
func (b *Bus) beacons() {
	for {
		select {
		case <-time.After(b.net.Every):
			b.Beacon()
		case <-b.done:
			return
		}
	}
}

// StartControl implements broadcast.ControlBus.
func (b *Bus) StartControl(r broadcast.ControlReceiver) { b.control = r }

// Start implements broadcast.Bus.
func (b *Bus) Start(receive func(*message.Message)) {
	b.receive = receive
	b.ended.Go(b.run)
	if b.net.Every > 0 {
		b.ended.Go(b.beacons)
	}
	b.set(func() {
		b.started = true
		b.net.send(b, b.control.Up)
		b.announce()
	})
}

// run gives the node what arrives.
func (b *Bus) run() {
	for {
		select {
		case p := <-b.queue:
			if wait := time.Until(p.at); wait > 0 {
				time.Sleep(wait)
			}
			p.give()
		case <-b.done:
			return
		}
	}
}

var errCut = errors.New("no connection to the fake bus")

// PublishControl implements broadcast.ControlBus.
func (b *Bus) PublishControl(p []byte) error { return b.carry(nil, p) }

// SendControl implements broadcast.ControlBus.
func (b *Bus) SendControl(node uint32, p []byte) error { return b.carry(&node, p) }

func (b *Bus) carry(node *uint32, p []byte) error {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	if b.closed || b.lost {
		return errCut
	}
	for _, other := range b.net.buses {
		if !b.reaches(other) || node != nil && *node != other.self.ID || b.net.Drop != nil && b.net.Drop(b.self.Name, other.self.Name, p) {
			continue
		}
		own := slices.Clone(p)
		b.net.send(other, func() { other.control.Received(own) })
	}
	return nil
}

// PublishPlain implements broadcast.ControlBus. There are no NATS clients here.
func (b *Bus) PublishPlain(string, []byte) error {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	if b.closed || b.lost {
		return errCut
	}
	return nil
}

// Peers implements broadcast.ControlBus.
func (b *Bus) Peers() (peers []broadcast.Peer) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	for _, other := range b.net.buses {
		if other != b && other.started && !other.closed && !other.lost && !b.lost {
			peers = append(peers, other.self)
		}
	}
	slices.SortFunc(peers, func(x, y broadcast.Peer) int { return strings.Compare(x.Name, y.Name) })
	return peers
}

// Alone implements broadcast.ControlBus.
func (b *Bus) Alone() bool { return false }

// Reserve implements broadcast.Bus.
func (b *Bus) Reserve(m *message.Message) (broadcast.Reservation, error) { return place{b, m}, nil }

type place struct {
	b *Bus
	m *message.Message
}

// Commit implements broadcast.Reservation.
func (p place) Commit() {
	p.b.net.mu.Lock()
	defer p.b.net.mu.Unlock()
	for _, other := range p.b.net.buses {
		if p.b.reaches(other) {
			m := *p.m
			if m.Report != nil { // every node has its own
				m.Report = message.NewReport(m.Report.ReportRequest, nil)
			}
			p.b.net.send(other, func() { other.receive(&m) })
			if p.m.Report != nil {
				p.b.net.send(other, func() { other.control.ReportAsked(p.b.self.ID, p.m.ID) })
			}
		}
	}
}

// Cancel implements broadcast.Reservation.
func (p place) Cancel() {}

// JoinUser implements broadcast.Interest.
func (b *Bus) JoinUser([]byte, broadcast.Waiter, uint64) bool { return true }

// LeaveUser implements broadcast.Interest.
func (b *Bus) LeaveUser([]byte) {}

// JoinTopic implements broadcast.Interest.
func (b *Bus) JoinTopic([]byte, broadcast.Waiter, uint64) bool { return true }

// LeaveTopic implements broadcast.Interest.
func (b *Bus) LeaveTopic([]byte) {}

// Condition implements broadcast.Bus.
func (b *Bus) Condition() (c broadcast.Condition) {
	b.net.mu.Lock()
	defer b.net.mu.Unlock()
	if b.lost {
		c.Degraded = append(c.Degraded, errCut.Error())
	}
	return c
}

// Stats implements broadcast.Bus.
func (b *Bus) Stats(*broadcast.Stats) {}

// Drain implements broadcast.Bus.
func (b *Bus) Drain(context.Context) error { return nil }

// Kill makes the node one that is gone without a word, as after kill -9: nothing
// comes from it any more, and Close sends no last beacon.
func (b *Bus) Kill() { b.set(func() { b.closed = true }) }

// Close implements broadcast.Bus.
func (b *Bus) Close() error {
	b.Beacon() // it says that the node has left
	b.set(func() { b.closed = true })
	close(b.done)
	b.ended.Wait()
	return nil
}
