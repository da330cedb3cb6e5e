package handover

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"belfry/message"
	"belfry/poller"
)

// maxQueued bounds the bytes that wait for the other process in one stream. Messages
// arrive there at the rate of the bus; the other process reads as fast as it can.
const maxQueued = 256 << 20

var errQueued = errors.New("handover: the other process does not read: too many messages wait for it")

// stream is this process's end of a shard's stream. Shards put items into its queue;
// its writer goroutine sends them in order.
type stream struct {
	c     *conn
	shard int
	wake  chan struct{} // holds a value if the queue may have items

	mu     sync.Mutex
	queue  []item
	bytes  int64 // of the queue
	closed bool

	// Of the batch that the other process has not acknowledged. mu guards them.
	waits    bool
	since    time.Duration // lived time
	sent     time.Time
	sessions int

	// What the successor has returned. mu guards them; only in the old process.
	back    []*Batch
	backAll bool

	backReady chan struct{} // closed when it has returned everything
}

// item is a frame that is encoded when it is its turn.
type item struct {
	kind    kind
	payload []byte
	batch   *Batch
	message *message.Message
}

func newStream(c *conn, shard int) *stream {
	return &stream{c: c, shard: shard, wake: make(chan struct{}, 1), backReady: make(chan struct{})}
}

// put adds an item. It never blocks.
func (s *stream) put(it item) error {
	size := int64(len(it.payload)) + 64
	if it.batch != nil {
		size += int64(len(it.batch.State))
	}
	if it.message != nil {
		size += int64(len(it.message.Payload))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	if s.bytes+size > maxQueued && s.bytes > 0 {
		return errQueued
	}
	s.queue, s.bytes = append(s.queue, it), s.bytes+size
	select {
	case s.wake <- struct{}{}:
	default:
	}
	return nil
}

// close ends the stream. What is in the queue is not sent any more.
func (s *stream) close() {
	s.mu.Lock()
	was := s.closed
	s.closed, s.queue, s.bytes = true, nil, 0
	s.mu.Unlock()
	if !was {
		close(s.wake)
		s.c.close()
	}
}

// errBroken says that the other process is gone, or does not read.
var errBroken = errors.New("the connection to the other process broke off")

// write sends what is put, until the stream is closed. sent is called after each batch.
func (s *stream) write(sent func() error) error {
	var spare []item
	var b []byte
	for range s.wake {
		s.mu.Lock()
		items := s.queue
		s.queue, s.bytes = spare[:0], 0
		s.mu.Unlock()
		for i := range items {
			var err error
			if b, err = s.send(b[:0], &items[i]); err != nil {
				return fmt.Errorf("%w: %w", errBroken, err)
			}
			if items[i].batch != nil {
				if err := sent(); err != nil {
					return err
				}
			}
			items[i] = item{}
		}
		spare = items
	}
	return nil
}

// send writes one item; b is reused for its payload.
func (s *stream) send(b []byte, it *item) ([]byte, error) {
	switch {
	case it.batch != nil:
		b = binary.AppendUvarint(b, it.batch.Number)
		b = binary.AppendUvarint(b, uint64(it.batch.Sessions))
		b = append(b, it.batch.State...)
		return b, s.c.write(kindBatch, b, it.batch.FDs...)
	case it.message != nil:
		b = appendMessage(b, it.message)
		return b, s.c.write(kindMessage, b)
	}
	return b, s.c.write(it.kind, it.payload)
}

// parseBatch reads the payload of a kindBatch, whose descriptors become the batch's.
func parseBatch(shard int, f *frame) (*Batch, error) {
	b := &Batch{Shard: shard, FDs: f.fds}
	var err error
	var sessions uint64
	if b.Number, b.State, err = uvarint(f.payload); err == nil {
		sessions, b.State, err = uvarint(b.State)
	}
	if err != nil || sessions > maxFDsOfFrame {
		CloseAll(f.fds)
		return nil, fmt.Errorf("handover: a batch of shard %d cannot be read", shard)
	}
	b.Sessions = int(sessions)
	return b, nil
}

// number reads a payload that is one number.
func number(p []byte) (uint64, error) {
	v, rest, err := uvarint(p)
	if err == nil && len(rest) > 0 {
		err = errMessage
	}
	return v, err
}

// appendNumbers and parseNumbers are the payload of a kindSent.
func appendNumbers(b []byte, numbers []uint64) []byte {
	for _, n := range numbers {
		b = binary.AppendUvarint(b, n)
	}
	return b
}

func parseNumbers(p []byte) (numbers []uint64, err error) {
	for len(p) > 0 {
		var n uint64
		if n, p, err = uvarint(p); err != nil {
			return nil, err
		}
		numbers = append(numbers, n)
	}
	return numbers, nil
}

func appendIDs(b []byte, ids []poller.ID) []byte {
	for _, id := range ids {
		b = binary.LittleEndian.AppendUint64(b, uint64(id))
	}
	return b
}

func parseIDs(p []byte) (ids []poller.ID, err error) {
	if len(p)%8 != 0 {
		return nil, errMessage
	}
	for ; len(p) > 0; p = p[8:] {
		ids = append(ids, poller.ID(binary.LittleEndian.Uint64(p)))
	}
	return ids, nil
}

// departed notes that a batch is on its way, and arrived that it was acknowledged.
func (s *stream) departed(now time.Duration, sessions int) {
	s.mu.Lock()
	s.waits, s.since, s.sent, s.sessions = true, now, time.Now(), sessions
	s.mu.Unlock()
}

func (s *stream) arrived() (sessions int, silent time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waits = false
	return s.sessions, time.Since(s.sent)
}

// overdue says whether a batch has been waiting for longer than limit.
func (s *stream) overdue(now, limit time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waits && now-s.since > limit
}
