package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"belfry/broadcast"
	"belfry/cluster"
	"belfry/handover"
	"belfry/message"
	"belfry/session"
	"belfry/wire"
)

// heir is this node while it takes over from another process. It implements
// handover.Node.
type heir struct {
	*belfry
	from   *handover.Successor
	serves atomic.Bool // this process has the bus

	mu    sync.Mutex // guards users, and changes of serves
	users []waitingUser

	// Owned by the goroutine that runs the hand-over.
	handed *broadcast.Heritage // of the bus; nil: not there yet
	nats   []int               // descriptors of handed
	others *cluster.Heritage
}

// waitingUser is a session that opens when this process has the bus.
type waitingUser struct {
	uid   []byte
	w     session.Waiter
	token uint64
}

// takeOver takes over every connection and then the node. It returns nil when this
// process serves.
func (n *belfry) takeOver() error {
	if err := n.sessions.Start(); err != nil { // it accepts nothing yet
		return err
	}
	from := n.restart.heir.from
	err := from.Run(n.sessions, n.restart.heir)
	from.Close()
	return err
}

// Overlap implements handover.Node.
func (h *heir) Overlap(ctx context.Context, token string) error { return h.bus.Join(ctx, token) }

// Inherit implements handover.Node.
func (h *heir) Inherit(in *handover.Heritage) error {
	bus, others := new(broadcast.Heritage), new(cluster.Heritage)
	err := json.Unmarshal(in.Sections[sectionBus], bus)
	if err == nil && h.directory != nil {
		err = json.Unmarshal(in.Sections[sectionCluster], others)
	}
	if err == nil {
		err = h.keys.Inherit(in.Sections[sectionKeys])
	}
	if err == nil {
		err = h.revocations.Inherit(in.Sections[sectionRevocations], time.Now())
	}
	if err == nil {
		for _, name := range in.Files {
			if name != fileNATS {
				err = fmt.Errorf("a descriptor for %q: this version does not know it", name)
			}
		}
	}
	if err != nil {
		handover.CloseAll(in.FDs)
		return fmt.Errorf("the state of the node: %w", err)
	}
	h.sync.Inherited()
	h.handed, h.nats, h.others = bus, in.FDs, others
	return nil
}

// Serve implements handover.Node.
func (h *heir) Serve() error {
	if err := h.bus.Take(h.handed, h.nats); err != nil {
		return err
	}
	if h.directory != nil {
		h.directory.Inherit(h.others)
	}
	h.keys.Settled()
	return h.begin()
}

// Alone implements handover.Node. The process before may have handed the bus over.
func (h *heir) Alone() error {
	if h.handed != nil {
		return h.Serve()
	}
	if err := h.bus.Take(nil, nil); err != nil {
		return err
	}
	return h.begin()
}

// begin begins to serve.
func (h *heir) begin() error {
	n := h.belfry
	n.startNode()
	h.open()
	if err := n.sessions.Serve(); err != nil {
		return err
	}
	if n.bridge != nil {
		n.bridge.Start()
	}
	return n.openControl() // nil: it logs why there is none
}

// open lets sessions go on that wait for the bus.
func (h *heir) open() {
	h.mu.Lock()
	users := h.users
	h.users = nil
	h.serves.Store(true)
	h.mu.Unlock()
	for _, u := range users {
		if !h.joinUser(u.uid, u.w, u.token) {
			continue
		}
		for !u.w.UserReady(u.token) { // the shard's mailbox is full
			time.Sleep(time.Millisecond)
		}
	}
}

func (h *heir) joinUser(uid []byte, w session.Waiter, token uint64) bool {
	return h.directory == nil || h.directory.JoinUser(uid, w, token)
}

// waitsForBus says whether a session of a user has to wait until this process has the
// bus, because pushes to the user come by a home that does not know of it. Then
// w.UserReady is called.
func (h *heir) waitsForBus(uid []byte, w session.Waiter, token uint64) bool {
	if h == nil || h.directory == nil || h.serves.Load() {
		return false
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.serves.Load() {
		return false
	}
	h.users = append(h.users, waitingUser{append([]byte(nil), uid...), w, token})
	return true
}

// joinsTopic asks the old process for the messages of a topic, if it still has the bus.
// Then w.TopicReady is called.
func (h *heir) joinsTopic(topic []byte, w session.Waiter, token uint64) bool {
	if h == nil || h.serves.Load() {
		return false
	}
	return h.from.JoinTopic(topic, func() {
		for !w.TopicReady(token) { // the shard's mailbox is full
			time.Sleep(time.Millisecond)
		}
	})
}

// leaveTopic is the reverse.
func (h *heir) leaveTopic(topic []byte) {
	if h != nil && !h.serves.Load() {
		h.from.LeaveTopic(topic)
	}
}

// publish publishes by the old process until the cut, and then by own on the bus of this
// one.
func (h *heir) publish(m *message.Message, w message.Wait, own func(*message.Message, message.Wait) error) error {
	if h == nil || h.serves.Load() {
		return own(m, w)
	}
	err, through := h.from.Publish(m, w.Time)
	if !through {
		return own(m, w)
	}
	var refused *handover.PublishError
	if errors.As(err, &refused) {
		return &wire.CommandError{Code: refused.Code, Field: refused.Field, Text: refused.Text}
	}
	return err
}
