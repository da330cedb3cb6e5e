package poller

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Frames of the churn test have a kind and two numbers.
const (
	churnHello  = 'H' // ID of the connection, its shard
	churnShared = 'S' // number; the same frame for all connections
	churnOwn    = 'O' // number, ID of the connection for which it was made
	churnStale  = 'X' // ID of the connection to which it was sent, which may have ended
	churnFrame  = 17
)

func churnBytes(kind byte, a, b uint64) []byte {
	p := append(make([]byte, 0, churnFrame), kind)
	return binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(p, a), b)
}

// churnServer sends broadcasts to every connection, tells each its ID, and closes
// connections that ask for it.
func churnServer(h *echoHandler) {
	h.open = func(s *Shard, slot uint32, _ any) {
		s.Send(slot, Bytes(churnBytes(churnHello, uint64(s.ID(slot)), uint64(s.Index()))), Data)
	}
	h.data = func(s *Shard, slot uint32, p []byte) int {
		if bytes.IndexByte(p, 'q') >= 0 {
			s.Close(slot)
		}
		return len(p)
	}
	h.failed = func(slot uint32, _ SendResult) { h.s.Close(slot) }
	h.mail = func(s *Shard, m Mail) {
		if m.Kind == churnStale {
			if slot, ok := s.Lookup(ID(m.ID)); ok {
				s.Send(slot, Bytes(churnBytes(churnStale, m.ID, m.ID)), Data)
			}
			return
		}
		b := m.Ptr.(*Frames)
		for slot, ok := s.Next(0); ok; slot, ok = s.Next(slot + 1) {
			s.Send(slot, Shared(b), Data)
			s.Send(slot, Bytes(churnBytes(churnOwn, m.ID, uint64(s.ID(slot)))), Data)
		}
		s.Release(QueueBulk, 1)
	}
}

// churnReader checks what one connection gets: only its own ID, and every number
// from the first that it gets.
type churnReader struct {
	c      net.Conn
	id     uint64
	shard  uint64
	shared uint64 // next number; 0: any
	own    uint64
	seen   atomic.Uint64
	buf    [churnFrame]byte
}

func (r *churnReader) read() error {
	if _, err := io.ReadFull(r.c, r.buf[:]); err != nil {
		return err
	}
	a, b := binary.BigEndian.Uint64(r.buf[1:]), binary.BigEndian.Uint64(r.buf[9:])
	expect := func(next *uint64) error {
		if *next != 0 && a != *next {
			return &churnError{fmt.Sprintf("%c: number %d, want %d", r.buf[0], a, *next)}
		}
		*next = a + 1
		return nil
	}
	switch kind := r.buf[0]; {
	case kind == churnHello && r.id == 0:
		r.id, r.shard = a, b
	case r.id == 0:
		return &churnError{fmt.Sprintf("%c before the greeting", kind)}
	case kind == churnShared:
		return expect(&r.shared)
	case kind == churnOwn && b == r.id:
		r.seen.Store(a)
		return expect(&r.own)
	case kind == churnStale && a == r.id:
	default:
		return &churnError{fmt.Sprintf("connection %#x got %c %#x %#x", r.id, kind, a, b)}
	}
	return nil
}

// churnError is a fault of the server, in contrast to errors of sockets.
type churnError struct{ text string }

func (e *churnError) Error() string { return e.text }

// Connections open and end in every way, while one writer sends numbered frames to
// all. Connections that stay get every number once. No connection gets a frame for
// an earlier connection with the same slot or descriptor.
func TestChurn(t *testing.T) {
	const staying, churners = 16, 8
	frames := uint64(3000)
	if raceDetector {
		frames = 1000
	}
	r := newRig(t, Options{MaxConns: 64}, churnServer)
	var (
		wg    sync.WaitGroup
		names = make(chan [2]uint64, 512)
		lives atomic.Int64
	)
	ctx, over := context.WithCancel(context.Background()) // done when the writer is
	defer over()
	var stayers []*churnReader
	for range staying {
		s := &churnReader{c: r.dial()}
		s.c.SetDeadline(time.Now().Add(60 * time.Second))
		s.c.Write([]byte("h")) // TCP_DEFER_ACCEPT waits for a byte
		if err := s.read(); err != nil {
			t.Fatal(err)
		}
		stayers = append(stayers, s)
		wg.Go(func() { s.readAll(t, frames) })
	}
	for i := range churners {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			for ctx.Err() == nil {
				if err := churnOnce(ctx, r.Addrs()[0].String(), rng, names); err != nil {
					t.Error(err)
					return
				}
				lives.Add(1)
			}
		})
	}
	wg.Go(func() { postToIDs(ctx, r, names) })
	churnWrite(t, r, stayers, frames)
	over()
	wg.Wait()
	for _, s := range stayers {
		s.c.Close()
	}
	eventually(t, "all closed and counted", func() bool {
		st := r.Stats()
		return st.Connections == 0 && st.Accepted == st.Closed+st.AcceptRefused
	})
	st := r.Stats()
	if st.Panics != 0 || st.BacklogBytes != 0 || st.Accepted != st.Closed+st.AcceptRefused {
		t.Errorf("%d panics, %d bytes of backlog, %d accepted, %d closed, %d refused", st.Panics, st.BacklogBytes, st.Accepted, st.Closed, st.AcceptRefused)
	}
	if n := lives.Load(); n < 100 {
		t.Errorf("only %d connections came and went", n)
	}
}

// readAll reads the numbers of all frames.
func (s *churnReader) readAll(t *testing.T, frames uint64) {
	for s.seen.Load() < frames {
		if err := s.read(); err != nil {
			t.Errorf("a staying connection, after number %d: %v", s.seen.Load(), err)
			return
		}
	}
	if s.own != frames+1 || s.shared != frames+1 {
		t.Errorf("read up to %d and %d, want %d", s.own, s.shared, frames)
	}
}

// churnWrite broadcasts all numbers, no faster than the staying connections read.
func churnWrite(t *testing.T, r *rig, stayers []*churnReader, frames uint64) {
	for n := uint64(1); n <= frames; n++ {
		b := NewFrames(NewFrame(churnBytes(churnShared, n, 0), 0))
		for i := range 2 {
			eventually(t, "a place in the mailbox", func() bool { return r.Shard(i).Post(QueueBulk, Mail{ID: n, Ptr: b}) })
		}
		if n%25 == 0 {
			eventually(t, "readers keep up", func() bool {
				for _, s := range stayers {
					if s.seen.Load()+25 < n {
						return t.Failed()
					}
				}
				return true
			})
		}
	}
}

// churnOnce is the life of one connection.
func churnOnce(ctx context.Context, addr string, rng *rand.Rand, names chan<- [2]uint64) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	c.SetDeadline(time.Now().Add(time.Minute))
	c.Write([]byte("h"))
	r := &churnReader{c: c}
	for i := range rng.IntN(30) {
		if err := r.read(); err != nil {
			var bad *churnError
			if errors.As(err, &bad) {
				return err
			}
			return nil // closed by the server: no slot was free, or the client was too slow
		}
		if i == 0 {
			select {
			case names <- [2]uint64{r.shard, r.id}:
			default:
			}
		}
	}
	tcp := c.(*net.TCPConn)
	switch rng.IntN(4) {
	case 0: // a reset
		tcp.SetLinger(0)
	case 1: // the client closes its side first
		tcp.CloseWrite()
	case 2: // the server closes it
		c.Write([]byte("q"))
	case 3: // the client leaves unread bytes
		return nil
	}
	for {
		if err := r.read(); err != nil {
			var bad *churnError
			if errors.As(err, &bad) {
				return err
			}
			return nil
		}
		if rng.IntN(20) == 0 {
			return nil
		}
	}
}

// postToIDs sends to connections by their IDs, most of which have ended.
func postToIDs(ctx context.Context, r *rig, names <-chan [2]uint64) {
	var known [][2]uint64
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-names:
			known = append(known, n)
		}
		for range 4 {
			n := known[rand.IntN(len(known))]
			r.Shard(int(n[0])).Post(QueueSingle, Mail{Kind: churnStale, ID: n[1]})
		}
	}
}

// An ID never names another connection, however often its slot and descriptor are
// used again: the generation differs, also in another shard.
func TestStaleIDs(t *testing.T) {
	r := newRig(t, Options{Shards: 1, MaxConns: 2}, func(h *echoHandler) {
		h.mail = runMail
		h.open = reportID
	})
	seen := map[ID]bool{}
	var before []ID
	for range 200 {
		c, id := r.pair(0)
		if seen[id] {
			t.Fatalf("name %#x was given before", uint64(id))
		}
		seen[id] = true
		r.on(0, func(s *Shard) {
			if slot, ok := s.Lookup(id); !ok || slot != id.Slot() || s.ID(slot) != id {
				t.Errorf("a living connection is not found by its name %#x", uint64(id))
			}
			for _, old := range before {
				if _, ok := s.Lookup(old); ok {
					t.Errorf("name %#x of a connection that is gone is found", uint64(old))
				}
			}
			s.Close(id.Slot())
			if _, ok := s.Lookup(id); ok {
				t.Error("a connection that was closed in this turn is found")
			}
		})
		before = append(before, id)
		c.Close()
		eventually(t, "closed", func() bool { return r.Stats().Connections == 0 })
	}
	r.on(0, func(s *Shard) {
		for _, never := range []ID{0, 1, 1 << 32, 0xFFFFFFFF, 1<<32 | 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF} {
			if _, ok := s.Lookup(never); ok {
				t.Errorf("name %#x is found", uint64(never))
			}
		}
	})
}

// Events that were fetched for a connection, which another connection's handler
// then closed, are ignored. They do not reach the next connection in the slot.
func TestStaleEvents(t *testing.T) {
	r := newRig(t, Options{Shards: 1}, func(h *echoHandler) {
		h.mail = runMail
		h.open = reportID
	})
	c, id := r.pair(0)
	r.on(0, func(s *Shard) {
		stale := s.ID(id.Slot()) - 1<<32
		for _, ev := range []uint32{0x1, 0x4, 0x8, 0x10, 0x2000, 0x201f} {
			s.serveConn(stale, ev)
		}
		if _, ok := s.Lookup(id); !ok {
			t.Error("a stale event ended its slot's new connection")
		}
	})
	ask(t, c, "well")
}
