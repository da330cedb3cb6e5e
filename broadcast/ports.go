package broadcast

import (
	"context"
	"strings"
	"time"

	"go.uber.org/zap"
)

// An embedded NATS server that listens for clients or routes cannot be handed over: no
// two processes can listen at one port, and nats-server gives no way to close only the
// listeners, or to pass on a connection. So HandOver ends the server, which frees the
// ports, and the successor starts its own.

// stopServer ends the embedded server, and returns when everything that the server had
// for this process is in the channels of the subscriptions.
func (b *NATS) stopServer(ctx context.Context) error {
	b.server.stop()          // a connection is flushed before it is closed
	for b.nc.IsConnected() { // until nats.go has read it to its end
		select {
		case <-time.After(100 * time.Microsecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// againEvery is the time between two attempts to start an embedded server again.
const againEvery = 100 * time.Millisecond

// startServerAgain starts the embedded server that stopServer has ended. If the ports are
// not free yet, because the successor has not ended, it goes on trying and returns. The
// caller holds passing.mu.
func (b *NATS) startServerAgain() {
	if b.server == nil || b.server.srv.Load() != nil || b.serverAgain() {
		return
	}
	b.wg.Add(1)
	go func() {
		defer b.wg.Done()
		for {
			select {
			case <-time.After(againEvery):
			case <-b.stop:
				return
			}
			b.passing.mu.Lock()
			done := b.passing.resume != nil || b.server.srv.Load() != nil || b.serverAgain()
			b.passing.mu.Unlock()
			if done {
				return
			}
		}
	}()
}

// serverAgain tries to start the embedded server.
func (b *NATS) serverAgain() bool {
	if b.stopped() {
		return true
	}
	if err := b.server.start(newInstance()); err != nil {
		b.log.Error("the embedded NATS server does not start again after a restart that failed: trying on", zap.Error(err))
		return false
	}
	_ = b.nc.ForceReconnect() // at once; it fails only when the connection is closed
	return true
}

// open starts the embedded server, if there is one, and connects.
func (b *NATS) open(instance string) (err error) {
	if b.server != nil {
		if err := b.server.start(instance); err != nil {
			return err
		}
	}
	if err := b.connect(); err != nil {
		b.server.stop()
		return err
	}
	return nil
}

// takeWait is how long take waits for the ports of the process before, whose embedded
// server is about to end.
const takeWait = 10 * time.Second

// openAfter is open for the successor of a process that may still have the ports.
func (b *NATS) openAfter() (err error) {
	for end := time.Now().Add(takeWait); ; {
		if err = b.open(newInstance()); err == nil || !portTaken(err) || time.Now().After(end) {
			return err
		}
		select {
		case <-b.stop:
			return errClosed
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// portTaken reports whether an embedded server could not listen because another process
// has the port. The server gives its errors as texts.
func portTaken(err error) bool { return strings.Contains(err.Error(), "address already in use") }
