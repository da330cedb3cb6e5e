package main

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"go.uber.org/zap"

	"belfry/handover"
	"belfry/message"
	"belfry/session"
	"belfry/wire"
)

// predecessor is this node as its successor sees it. It implements handover.Predecessor.
type predecessor struct{ *belfry }

// Sections and descriptors of the state at the cut (docs/handover.md).
const (
	sectionBus         = "bus"
	sectionCluster     = "cluster"
	sectionKeys        = "idempotency"
	sectionRevocations = "revocations"
	fileNATS           = "nats"
)

// JoinTopic implements handover.Predecessor.
func (p predecessor) JoinTopic(topic []byte, ready func()) {
	if p.bus.JoinTopic(topic, &linkWaiter{ready}, 0) {
		ready()
	}
}

// LeaveTopic implements handover.Predecessor.
func (p predecessor) LeaveTopic(topic []byte) { p.bus.LeaveTopic(topic) }

// Publish implements handover.Predecessor.
func (p predecessor) Publish(m *message.Message, wait time.Duration) error {
	err := p.belfry.publish(m, message.Wait{Time: wait})
	if err != nil && p.restart.exporting.Load() {
		return &handover.PublishError{Code: handover.CodeLater, Text: err.Error()}
	}
	var command *wire.CommandError
	if errors.As(err, &command) {
		return &handover.PublishError{Code: command.Code, Field: command.Field, Text: command.Text}
	}
	return err
}

// linkWaiter waits for one topic. It implements broadcast.Waiter.
type linkWaiter struct{ ready func() }

// UserReady implements broadcast.Waiter. Nobody joins users for a successor.
func (*linkWaiter) UserReady(uint64) bool { return true }

// TopicReady implements broadcast.Waiter.
func (w *linkWaiter) TopicReady(uint64) bool { w.ready(); return true }

// Overlap implements handover.Predecessor.
func (p predecessor) Overlap() (token string, err error) {
	if !p.bus.Overlaps() {
		return "", nil
	}
	return p.bus.Expect()
}

// Begin implements handover.Predecessor. What is being done to sessions ends first.
func (p predecessor) Begin() { p.restart.moving.Lock() }

// holdTime is how long pushes that are being served may take before the cut. After it the
// bus refuses them, and they are answered with a 503.
const holdTime = time.Second

// Export implements handover.Predecessor. The order matters: what publishes ends first,
// then the bus delivers what it has received, and then the shards send it.
func (p predecessor) Export(ctx context.Context) (*handover.Heritage, error) {
	p.restart.exporting.Store(true)
	holding, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	if err := p.api.Hold(holding); err != nil {
		p.log.Warn("hot restart: pushes that are being served are refused", zap.Error(err))
	}
	if p.events != nil {
		p.events.Flush(holding)
	}
	h := &handover.Heritage{Sections: map[string][]byte{}}
	bus, fds, err := p.bus.HandOver(ctx)
	h.FDs = fds
	for range fds {
		h.Files = append(h.Files, fileNATS)
	}
	if err == nil {
		err = p.sessions.Quiet(ctx)
	}
	if err == nil {
		h.Sections[sectionBus], err = json.Marshal(bus)
	}
	if err == nil && p.directory != nil {
		h.Sections[sectionCluster], err = json.Marshal(p.directory.Bequeath())
	}
	h.Sections[sectionKeys] = p.keys.Heritage()
	h.Sections[sectionRevocations] = p.revocations.Heritage()
	return h, err
}

// Resume implements handover.Predecessor.
func (p predecessor) Resume() {
	p.bus.Resume()
	p.restart.exporting.Store(false)
	p.restart.moving.Unlock()
	p.api.Resume()
}

// Leave implements handover.Predecessor.
func (p predecessor) Leave(pid int) {
	p.notifySuccessor(pid)
	p.bus.HandedOver()
	p.stopping.Store(true)
}

// answerTime is how long this process still answers the requests of connections to the
// API that it has accepted, with a 503.
const answerTime = time.Second

// endHandedOver ends this process after its successor serves. Sessions that could not be
// handed over are closed: those over TLS, and those with a call under way.
func (n *belfry) endHandedOver(stopServing func(), served <-chan error) error {
	r := n.restart.control.Load()
	answering := time.NewTimer(answerTime)
	grace := n.cfg.Shutdown.Grace
	ctx, cancel := context.WithTimeout(context.Background(), grace)
	defer cancel()
	if left := n.sessions.Stats().Sessions; left > 0 {
		n.log.Info("hot restart: sessions that could not be handed over are closed; their clients connect again", zap.Int64("sessions", left))
	}
	n.closeControl()
	if n.bridge != nil {
		n.bridge.StopAccepting()
	}
	n.closeAnnouncer()
	var errs []error
	var cut *session.CutOffError
	spread := reconnectSpread(n.cfg.Shutdown, n.sessions.Stats().Sessions)
	if err := n.sessions.Shutdown(ctx, n.closeRate(grace), spread); errors.As(err, &cut) {
		n.log.Warn("connections were cut off", zap.Int("connections", cut.Connections))
	} else if err != nil {
		errs = append(errs, err)
	}
	n.closeBridge(ctx)
	n.stopGateway(ctx)
	n.closeParts()
	<-answering.C // a request that is on its way gets an answer, and not the end of its connection
	stopServing()
	errs = append(errs, <-served, n.bus.Close())
	n.closeReports()
	n.directory.close()
	r.old.Finish()
	n.log.Info("stopped")
	return errors.Join(errs...)
}

// closeParts ends what works for sessions, which have ended.
func (n *belfry) closeParts() {
	if n.auth != nil {
		n.auth.Close()
	}
	n.hooks.close()
	n.closeEvents()
}
