package broadcast

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/nats-io/nats.go"
	"go.uber.org/zap"

	"belfry/broadcast/line"
)

var errHeld = errors.New("another process still has the bus of this node")

// passing is what a bus needs that another process goes on with.
type passing struct {
	dialer line.Dialer // with an external NATS
	taking atomic.Bool // take has begun and not ended
	over   atomic.Bool // the other process goes on: this one publishes nothing more, its last beacon included

	record atomic.Pointer[record] // what a successor that has joined may receive too; nil: none is expected
	joined *joined                // of the successor, guarded by mu

	mu     sync.Mutex    // held by HandOver, Resume and Take, which end soon when the bus is closed
	resume chan struct{} // ends the pauses; nil: there are none
}

// HandOver stops the node, for another process that goes on as the same node with what
// HandOver returns (Take). It refuses further messages, sends the outbox, and delivers
// everything that was received. fds are descriptors for Heritage; the caller closes
// them. Then the node is still: it neither sends nor receives, until Resume or Close.
// After an error it goes on as before. An embedded NATS server that has ports is ended
// last, so that the ports are free for the successor: NATS clients and other nodes lose
// their connections to it.
//
// The sessions must have left, or must not publish any more.
func (n *Node) HandOver(ctx context.Context) (h *Heritage, fds []int, err error) {
	if n.nats == nil {
		return nil, nil, errors.New("bus: only NATS can be handed over")
	}
	if h, fds, err = n.nats.handOver(ctx); err != nil {
		return nil, nil, fmt.Errorf("bus: cannot be handed over: %w", err)
	}
	return h, fds, nil
}

// Resume makes the node go on that HandOver stopped: nothing is lost. It must not be
// called when another process has begun Take, unless that process has ended. An embedded
// server that was ended is started again at its ports; if they are not free yet, Resume
// logs an error and the node tries on until it is closed.
func (n *Node) Resume() {
	if n.nats != nil {
		n.nats.goOn()
	}
}

// HandedOver says that another process goes on as this node: Close then sends nothing
// more, and other nodes do not hear that the node has left.
func (n *Node) HandedOver() {
	if n.nats != nil {
		n.nats.passing.over.Store(true)
	}
}

func (b *NATS) handOver(ctx context.Context) (*Heritage, []int, error) {
	b.passing.mu.Lock()
	defer b.passing.mu.Unlock()
	switch {
	case b.stopped():
		return nil, nil, errClosed
	case b.passing.resume != nil || b.nc == nil:
		return nil, nil, errors.New("it is held, or stopped already")
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { // Close waits for this call
		select {
		case <-b.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	b.passing.resume = make(chan struct{})
	h, fds, err := b.stopAll(ctx)
	if err != nil {
		b.goOnLocked()
	}
	return h, fds, err
}

// settled returns the connection when no Take, HandOver or Resume runs any more. The bus
// is closed: none begins.
func (b *NATS) settled() *nats.Conn {
	b.passing.mu.Lock()
	defer b.passing.mu.Unlock()
	return b.nc
}

func (b *NATS) stopAll(ctx context.Context) (*Heritage, []int, error) {
	if err := b.unsendable(); err != nil { // the node would refuse messages in vain
		return nil, nil, err
	}
	if err := b.awaitMarker(ctx); err != nil {
		return nil, nil, err
	}
	b.box.closeFor("restarting")
	if err := b.box.waitEmpty(ctx); err != nil {
		if away := b.unsendable(); away != nil {
			return nil, nil, away
		}
		return nil, nil, err
	}
	c, err := b.standStill(ctx)
	if err != nil {
		return nil, nil, err
	}
	h := b.heritage(c != nil)
	if h.Overlap, err = b.overlapped(); err != nil {
		return nil, nil, err
	}
	if c == nil {
		return h, nil, nil
	}
	if h.Line, err = c.State(); err != nil {
		return nil, nil, err
	}
	fd, err := c.Descriptor()
	if err != nil {
		return nil, nil, err
	}
	return h, []int{fd}, nil
}

// unsendable returns an error if the outbox has messages that cannot be sent.
func (b *NATS) unsendable() error {
	messages, bytes := b.box.depth()
	if messages == 0 || b.connected.Load() {
		return nil
	}
	return fmt.Errorf("%d messages (%d bytes) wait in the outbox, and there is no connection to NATS at %s (%s): "+
		"try again when NATS is there, or stop and start the node, which loses these messages",
		messages, bytes, b.servers(), *b.connectErr.Load())
}

// standStill pauses every goroutine of the bus when it has done what there is to do. It
// returns the connection if that can be passed on.
func (b *NATS) standStill(ctx context.Context) (c *line.Conn, err error) {
	resume, nothing := b.passing.resume, func() {}
	if err := b.pause(ctx, b.pauses.interest, resume, nothing); err != nil {
		return nil, err
	}
	if err := b.pause(ctx, b.pauses.sender, resume, b.sender.confirmAll); err != nil {
		return nil, err
	}
	if c, err = b.stopLine(ctx); err != nil {
		return nil, err
	}
	if b.server.ports() {
		if err := b.stopServer(ctx); err != nil {
			return nil, err
		}
	}
	if err := b.pause(ctx, b.pauses.receiver, resume, b.receiveAll); err != nil {
		return nil, err
	}
	if err := b.pause(ctx, b.pauses.control, resume, b.commandsAll); err != nil {
		return nil, err
	}
	if c == nil {
		return nil, nil
	}
	if err := line.Written(ctx, b.nc); err != nil {
		return nil, err
	}
	c.Freeze()
	return c, nil
}

// stopLine ends reading from NATS. It returns nil if the connection cannot be passed on:
// the next process then opens one of its own.
func (b *NATS) stopLine(ctx context.Context) (*line.Conn, error) {
	c := b.passing.dialer.Current()
	if b.server != nil || c == nil || !b.connected.Load() {
		return nil, nil
	}
	switch err := c.Stop(ctx); {
	case errors.Is(err, line.ErrOpaque):
		return nil, nil
	case err != nil:
		return nil, err
	}
	return c, nil
}

// receiveAll delivers what has been received. It runs on the receiver's goroutine.
func (b *NATS) receiveAll() {
	for len(b.in) > 0 {
		b.receiver.handle(<-b.in)
	}
}

// commandsAll runs on the goroutine that takes control messages.
func (b *NATS) commandsAll() {
	for len(b.commands) > 0 {
		b.commandHeard(<-b.commands)
	}
}

// goOn ends what handOver began.
func (b *NATS) goOn() {
	b.passing.mu.Lock()
	defer b.passing.mu.Unlock()
	b.passing.record.Store(nil) // no successor is expected any more
	b.goOnLocked()
}

func (b *NATS) goOnLocked() {
	if b.passing.resume == nil || b.stopped() {
		return
	}
	b.passing.record.Store(nil)
	if c := b.passing.dialer.Current(); c != nil {
		if err := c.Resume(); err != nil {
			b.log.Warn("connection to NATS broke while it was handed over", zap.Error(err))
		}
	}
	close(b.passing.resume)
	b.passing.resume = nil
	b.startServerAgain()
	b.box.closeFor("")
}
