package handover

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"belfry/message"
	"belfry/poller"
	"belfry/session"
)

// fakeServer stands for session.Server: it sends numbered lines to all its clients. It
// holds real sockets and obeys the rules of Giver and Taker.
type fakeServer struct {
	shards    []*fakeShard
	listener  *net.TCPListener
	accepts   atomic.Bool
	accepting sync.Mutex    // held while a client is accepted
	next      atomic.Uint64 // connections that were accepted
}

// fakeShard is one goroutine that owns its sessions.
type fakeShard struct {
	number   int
	mail     chan func()
	sessions map[uint32]*fakeSession
	halted   bool // no message is sent any more
	newest   uint64

	// Giving away.
	out     Outgoing
	left    map[uint32]*fakeSession // that the successor has, or is to get
	waits   bool                    // for the acknowledgement of a batch
	batches uint64
	seen    []byte // memory of both processes: the last number that a client got, by slot
	middle  []byte // marks: 1 while it is not known whether a client gets a number

	got uint64
}

// fakeSession is a client. last is the last number that it got.
type fakeSession struct {
	slot uint32
	fd   int
	last uint64
}

const (
	fakeSlots = 256
	fakeBatch = 8
)

func newFakeServer(shards int, l *net.TCPListener, seen *Marks, middle func(shard int) []byte) *fakeServer {
	s := &fakeServer{listener: l}
	for i := range shards {
		h := &fakeShard{number: i, mail: make(chan func(), 1<<12), sessions: map[uint32]*fakeSession{}, left: map[uint32]*fakeSession{},
			seen: seen.Of(i), middle: middle(i)}
		s.shards = append(s.shards, h)
		go func() {
			for f := range h.mail {
				f()
			}
		}()
	}
	go s.accept()
	return s
}

// accept takes clients while s.accepts is set; others wait in the kernel's queue.
func (s *fakeServer) accept() {
	for {
		s.accepting.Lock()
		if !s.accepts.Load() {
			s.accepting.Unlock()
			time.Sleep(time.Millisecond)
			continue
		}
		_ = s.listener.SetDeadline(time.Now().Add(5 * time.Millisecond))
		c, err := s.listener.AcceptTCP()
		if err != nil {
			s.accepting.Unlock()
			continue
		}
		f, _ := c.File()
		fd, _ := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
		f.Close()
		c.Close()
		n := s.next.Add(1) - 1
		h := s.shards[n%uint64(len(s.shards))]
		h.mail <- func() {
			slot := uint32(0)
			for h.sessions[slot] != nil || h.left[slot] != nil {
				slot++
			}
			h.sessions[slot] = &fakeSession{slot: slot, fd: fd}
		}
		s.accepting.Unlock()
	}
}

// broadcast sends a number to all clients.
func (s *fakeServer) broadcast(n uint64) {
	for _, h := range s.shards {
		h.mail <- func() { h.send(n) }
	}
}

func (h *fakeShard) send(n uint64) {
	h.newest = n
	if h.halted {
		return
	}
	for _, c := range h.sessions {
		h.write(c, n)
	}
	if len(h.left) > 0 && h.out != nil {
		h.out.Message(h.number, &message.Message{Payload: binary.AppendUvarint(nil, n)})
	}
}

func (h *fakeShard) write(c *fakeSession, n uint64) {
	h.middle[c.slot] = 1
	defer func() { h.middle[c.slot] = 0 }()
	if _, err := unix.Write(c.fd, fmt.Appendf(nil, "%d\n", n)); err != nil {
		unix.Close(c.fd)
		delete(h.sessions, c.slot)
		return
	}
	c.last = n
	binary.LittleEndian.PutUint64(h.seen[c.slot*8:], n)
}

// on runs f on the shard and waits.
func (h *fakeShard) on(f func()) {
	done := make(chan struct{})
	h.mail <- func() { f(); close(done) }
	<-done
}

func (s *fakeServer) HandOver(out Outgoing) {
	for _, h := range s.shards {
		h.mail <- func() { h.out = out; h.export() }
	}
}

// export sends the next batch.
func (h *fakeShard) export() {
	if h.out == nil || h.waits {
		return
	}
	b := &Batch{Shard: h.number, Number: h.batches}
	for slot, c := range h.sessions {
		if b.Sessions == fakeBatch {
			break
		}
		b.State = binary.LittleEndian.AppendUint32(b.State, slot)
		b.State = binary.LittleEndian.AppendUint64(b.State, c.last)
		b.FDs = append(b.FDs, c.fd)
		b.Sessions++
		h.left[slot] = c
		delete(h.sessions, slot)
	}
	if b.Sessions == 0 {
		h.out.Empty(h.number, 0)
		return
	}
	h.batches++
	h.waits = true
	h.out.Batch(b)
}

func (s *fakeServer) Imported(shard int, _ uint64) {
	h := s.shards[shard]
	h.mail <- func() { h.waits = false }
	time.AfterFunc(3*time.Millisecond, func() { h.mail <- h.export }) // so that messages come between
}

func (s *fakeServer) Ended(shard int, ids []poller.ID) {
	h := s.shards[shard]
	h.mail <- func() {
		for _, id := range ids {
			if c := h.left[id.Slot()]; c != nil {
				unix.Close(c.fd)
				delete(h.left, id.Slot())
			}
		}
	}
}

func (s *fakeServer) FinishHandOver(ctx context.Context) error {
	s.accepts.Store(false)
	s.accepting.Lock() // afterwards no further client comes
	defer s.accepting.Unlock()
	for {
		left := 0
		for _, h := range s.shards {
			h.on(func() {
				left += len(h.sessions)
				if h.waits {
					left++
				}
				h.export()
			})
		}
		if left == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Millisecond):
		}
	}
}

func (s *fakeServer) CommitHandOver() {}

func (s *fakeServer) Sent(int, []uint64) {}

func (s *fakeServer) AbortHandOver(returned func(int) []*Batch, touched func(int, uint32) bool) (a session.Aborted) {
	for _, h := range s.shards {
		h.on(func() { h.halted, h.out = true, nil })
	}
	for _, h := range s.shards {
		back := returned(h.number)
		h.on(func() {
			for _, b := range back {
				for p := b.State; len(p) > 0; p = p[12:] {
					if c := h.left[binary.LittleEndian.Uint32(p)]; c != nil {
						c.last = binary.LittleEndian.Uint64(p[4:])
					}
				}
			}
			for slot, c := range h.left {
				// Also of a successor that has died it is known what clients have got.
				if touched(h.number, slot) {
					unix.Close(c.fd)
					a.Closed++
					continue
				}
				c.last = max(c.last, binary.LittleEndian.Uint64(h.seen[slot*8:]))
				h.sessions[slot] = c
				a.Resumed++
			}
			clear(h.left)
			h.catchUp()
		})
	}
	s.accepts.Store(true)
	return a
}

// catchUp sends what was broadcast while a client was on its way.
func (h *fakeShard) catchUp() {
	for _, c := range h.sessions {
		h.newest = max(h.newest, c.last)
	}
	for _, c := range h.sessions {
		for n := c.last + 1; c.last > 0 && n <= h.newest; n++ {
			h.write(c, n)
		}
	}
	h.halted, h.waits = false, false
}

func (s *fakeServer) Import(b *Batch, done func(error)) {
	h := s.shards[b.Shard]
	h.mail <- func() {
		if len(b.State) != 12*b.Sessions || len(b.FDs) != b.Sessions {
			done(errors.New("not a batch of the fake"))
			return
		}
		for i, p := 0, b.State; len(p) > 0; i, p = i+1, p[12:] {
			slot := binary.LittleEndian.Uint32(p)
			h.sessions[slot] = &fakeSession{slot, b.FDs[i], binary.LittleEndian.Uint64(p[4:])}
		}
		done(nil)
	}
}

func (s *fakeServer) ImportMessage(shard int, m *message.Message) {
	h := s.shards[shard]
	n, _ := binary.Uvarint(m.Payload)
	h.mail <- func() {
		h.send(n)
		h.got++
	}
}

func (s *fakeServer) SendBack(out Outgoing) {
	for _, h := range s.shards {
		h.mail <- func() {
			for len(h.sessions) > 0 {
				h.out, h.waits = out, false
				h.export()
			}
			h.halted, h.out = true, nil
			out.Empty(h.number, 0)
		}
	}
}

// fakeNode stands for the node around the sessions: it counts, 500 times a second.
type fakeNode struct {
	server  *fakeServer
	seen    *Marks
	mu      sync.Mutex // of number and its broadcast
	number  uint64
	runs    atomic.Bool
	topics  sync.Map
	socket  string
	heir    bool // it replaces the socket of another process
	control *Socket
}

func (n *fakeNode) count() {
	for range time.Tick(2 * time.Millisecond) {
		n.mu.Lock()
		if n.runs.Load() {
			n.number++
			n.server.broadcast(n.number)
		}
		n.mu.Unlock()
	}
}

// set starts and stops counting.
func (n *fakeNode) set(on bool) {
	n.mu.Lock()
	n.runs.Store(on)
	n.mu.Unlock()
}

func (n *fakeNode) Inherit() (*Inheritance, error) {
	raw, err := n.server.listener.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	// Not File().Fd(): it would make the listener block, also in this process.
	if cerr := raw.Control(func(l uintptr) { fd, err = unix.FcntlInt(l, unix.F_DUPFD_CLOEXEC, 0) }); cerr != nil {
		return nil, cerr
	}
	seen, merr := unix.FcntlInt(uintptr(n.seen.fd), unix.F_DUPFD_CLOEXEC, 0)
	return &Inheritance{Sections: map[string][]byte{"fake": []byte("x")}, Files: []string{"listener", "seen"}, FDs: []int{fd, seen}}, errors.Join(err, merr)
}

// Overlap has the successor say that it has joined the bus.
func (n *fakeNode) Overlap() (string, error) { return "token", nil }

func (n *fakeNode) Begin() {}

// Resume goes on behind the last number that a client got, also from the successor.
func (n *fakeNode) Resume() {
	n.mu.Lock()
	for _, h := range n.server.shards {
		h.on(func() {
			for _, c := range h.sessions {
				n.number = max(n.number, c.last)
			}
		})
	}
	n.mu.Unlock()
	n.set(true)
}

func (n *fakeNode) Export(context.Context) (*Heritage, error) {
	n.set(false)
	// Everything that was counted goes out before the state does.
	for _, h := range n.server.shards {
		h.on(func() {})
	}
	return &Heritage{Sections: map[string][]byte{"number": binary.AppendUvarint(nil, n.number)}}, nil
}
func (n *fakeNode) Leave(int) {}
func (n *fakeNode) JoinTopic(topic []byte, ready func()) {
	n.topics.Store(string(topic), true)
	ready()
}
func (n *fakeNode) LeaveTopic(topic []byte) { n.topics.Delete(string(topic)) }
func (n *fakeNode) Publish(m *message.Message, _ time.Duration) error {
	if m.ID == "" {
		return &PublishError{Code: "bad_request", Field: "id", Text: "missing"}
	}
	return nil
}

// fakeHeir is the node of the successor, before it serves.
type fakeHeir struct{ *fakeNode }

func (n fakeHeir) Overlap(_ context.Context, token string) error {
	if token != "token" {
		return errors.New("another token")
	}
	return nil
}

func (n fakeHeir) Inherit(h *Heritage) error {
	n.number, _ = binary.Uvarint(h.Sections["number"])
	return nil
}

func (n fakeHeir) Serve() (err error) {
	n.control, err = Listen(n.socket, n.heir)
	n.server.accepts.Store(true)
	n.set(true)
	return err
}

// Alone goes on behind the last number that this process has seen.
func (n fakeHeir) Alone() error {
	for _, h := range n.server.shards {
		h.on(func() {
			for _, c := range h.sessions {
				n.number = max(n.number, c.last)
			}
		})
	}
	return n.Serve()
}
