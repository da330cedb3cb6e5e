package broadcast

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"

	"belfry/message"
)

// outbox is the queue between publishers and the sender. A place is taken by
// reserve and given back when the NATS server has confirmed the message, so
// the bounds include what is under way.
type outbox struct {
	maxMessages int
	maxBytes    int

	mu        sync.Mutex // guards the rest; innermost, see doc.go
	messages  int        // places taken: reserved, queued or under way
	bytes     int
	queue     []part
	head      int    // queue[:head] has left
	closedFor string // why nothing is taken any more, "" if it is
	abandoned bool   // nobody takes from the queue any more

	unsent atomic.Uint64 // messages that were committed and will not leave
	more   chan struct{} // 1 deep: something was queued
	empty  chan struct{} // 1 deep: the last place was given back
}

func newOutbox(messages, bytes int) *outbox {
	return &outbox{
		maxMessages: messages,
		maxBytes:    bytes,
		more:        make(chan struct{}, 1),
		empty:       make(chan struct{}, 1),
	}
}

// reserve takes places for all parcels or for none. One that could never fit
// is a *message.TooLargeError.
func (b *outbox) reserve(messages, bytes int) error {
	if messages > b.maxMessages {
		return &message.TooLargeError{What: "names of the target, by places in the outbox", Size: messages, Max: b.maxMessages}
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

// commit queues parcels whose places are reserved.
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

// take moves at most messages and about bytes of the queue's front to dst.
// Their places stay taken.
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
		if cap(b.queue) > 4096 { // a backlog is over: its array need not stay
			b.queue = nil
		}
		b.queue, b.head = b.queue[:0], 0
	}
	return dst
}

// closeFor makes reserve fail from now on.
func (b *outbox) closeFor(why string) {
	b.mu.Lock()
	b.closedFor = why
	b.mu.Unlock()
}

// waitEmpty returns when no place is taken.
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

// discard counts what is queued, now or later, as late.
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

// taken returns which part of the outbox is taken: of its places, or of its
// bytes if that is more.
func (b *outbox) taken() float64 {
	messages, bytes := b.depth()
	return max(float64(messages)/float64(b.maxMessages), float64(bytes)/float64(b.maxBytes))
}

// wakeUp signals a channel of depth 1: whoever reads it looks at everything.
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
