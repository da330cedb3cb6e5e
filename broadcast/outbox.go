package broadcast

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"belfry/message"
)

// outbox is the queue between publishers and the sender. reserve takes a place;
// release gives it back when the NATS server has confirmed the message. So the
// limits include messages that are being sent.
type outbox struct {
	maxMessages int
	maxBytes    int

	mu        sync.Mutex // guards this group; see doc.go
	messages  int        // places taken: reserved, queued or being sent
	bytes     int        // of these messages
	queue     []part
	head      int    // queue[:head] was taken by the sender
	closedFor string // why reserve fails, "" if the outbox is open
	abandoned bool   // the sender has ended

	unsent atomic.Uint64 // messages that were committed and will not be sent
	more   chan struct{} // capacity 1: messages were queued
	empty  chan struct{} // capacity 1: the last place was given back
}

func newOutbox(messages, bytes int) *outbox {
	return &outbox{
		maxMessages: messages,
		maxBytes:    bytes,
		more:        make(chan struct{}, 1),
		empty:       make(chan struct{}, 1),
	}
}

// reserve takes places for all parts of a message or for none. It returns a
// *message.TooLargeError if the message would not fit into an empty outbox, and
// otherwise a *message.OverloadedError.
func (b *outbox) reserve(messages, bytes int) error {
	if messages > b.maxMessages {
		return &message.TooLargeError{What: "subjects of the target, each of which takes a place in the outbox", Size: messages, Max: b.maxMessages}
	}
	if bytes > b.maxBytes {
		return &message.TooLargeError{What: "message in the outbox", Size: bytes, Max: b.maxBytes}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closedFor != "" {
		return &message.OverloadedError{What: b.closedFor, RetryAfter: retryAfter}
	}
	if b.messages+messages > b.maxMessages || b.bytes+bytes > b.maxBytes {
		return &message.OverloadedError{What: "outbox", RetryAfter: retryAfter}
	}
	b.messages += messages
	b.bytes += bytes
	return nil
}

// release gives places back.
func (b *outbox) release(messages, bytes int) {
	b.mu.Lock()
	b.messages -= messages
	b.bytes -= bytes
	done := b.messages == 0
	b.mu.Unlock()
	if done {
		wakeUp(b.empty)
	}
}

// commit queues parts whose places are reserved.
func (b *outbox) commit(ps []part) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.abandoned {
		b.unsent.Add(uint64(len(ps)))
	}
	if b.head > 64 && b.head*2 > len(b.queue) {
		n := copy(b.queue, b.queue[b.head:])
		clear(b.queue[n:])
		b.queue, b.head = b.queue[:n], 0
	}
	b.queue = append(b.queue, ps...)
	wakeUp(b.more)
}

// take moves parts from the front of the queue to dst until dst has that many
// messages or about that many bytes. Their places stay taken.
func (b *outbox) take(dst []part, messages, bytes int) []part {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.head < len(b.queue) && len(dst) < messages && bytes > 0 {
		p := &b.queue[b.head]
		bytes -= p.size
		dst = append(dst, *p)
		*p = part{}
		b.head++
	}
	if b.head == len(b.queue) {
		if cap(b.queue) > 4096 { // free the array that a long queue needed
			b.queue = nil
		}
		b.queue, b.head = b.queue[:0], 0
	}
	return dst
}

// closeFor makes reserve fail from now on: its error gives the reason.
func (b *outbox) closeFor(reason string) {
	b.mu.Lock()
	b.closedFor = reason
	b.mu.Unlock()
}

// waitEmpty returns when no place is taken. If ctx is done first, it returns an
// error that says how much is left.
func (b *outbox) waitEmpty(ctx context.Context) error {
	for {
		messages, bytes := b.depth()
		if messages == 0 {
			return nil
		}
		select {
		case <-b.empty:
		case <-ctx.Done():
			return fmt.Errorf("bus: %d messages (%d bytes) left in the outbox: %w", messages, bytes, ctx.Err())
		}
	}
}

// discard counts the messages that are in the queue, and the ones that are
// committed later, in unsent.
func (b *outbox) discard() {
	b.mu.Lock()
	b.abandoned = true
	b.unsent.Add(uint64(len(b.queue) - b.head))
	b.mu.Unlock()
}

// depth returns the places taken and their bytes.
func (b *outbox) depth() (messages, bytes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.messages, b.bytes
}

// taken returns the fraction of the outbox that is taken: of its messages or of
// its bytes, whichever is larger.
func (b *outbox) taken() float64 {
	messages, bytes := b.depth()
	return max(float64(messages)/float64(b.maxMessages), float64(bytes)/float64(b.maxBytes))
}

// wakeUp signals a channel of capacity 1. One signal is enough for several
// events, because the reader then handles all of them.
func wakeUp(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// reservation implements Reservation for the outbox.
type reservation struct {
	box   *outbox
	parts []part
	bytes int
}

// Commit implements Reservation.
func (r *reservation) Commit() {
	if len(r.parts) > 0 {
		r.box.commit(r.parts)
	}
}

// Cancel implements Reservation.
func (r *reservation) Cancel() {
	if len(r.parts) > 0 {
		r.box.release(len(r.parts), r.bytes)
	}
}
