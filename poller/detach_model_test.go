package poller

import (
	"bytes"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"
)

// detachModel is one connection that is sent to and read by shards and by
// goroutines in turn, and its client. The bytes of each direction are numbered.
type detachModel struct {
	t      *testing.T
	r      *rig
	client int
	shard  int    // that has the connection
	id     ID     // there
	sock   Socket // if outside
	out    bool   // it is outside

	mu       sync.Mutex
	take     int         // how many bytes the handler consumes at a time
	giveAway chan Socket // the handler detaches the connection in OnData
	received []byte      // on the server's side

	written     []byte // by the client
	sent        []byte // to the client
	read        []byte // by the client
	writeClosed bool
}

// numbers returns the n bytes of a stream behind those that it had.
func numbers(had, n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte((had + i) % 251)
	}
	return p
}

// data is the handler's OnData. Of the bytes given it leaves no more than may
// wait in a connection that is not paused.
func (m *detachModel) data(s *Shard, slot uint32, p []byte) int {
	m.mu.Lock()
	defer m.mu.Unlock()
	n := min(max(m.take, len(p)-MaxUnread/2), len(p))
	m.received = append(m.received, p[:n]...)
	if m.giveAway == nil {
		return n
	}
	sock, ok := s.Detach(slot, p[n:])
	if !ok {
		return n
	}
	m.giveAway <- sock
	m.giveAway = nil
	return 0
}

// on runs f on the connection's shard, if it is with one.
func (m *detachModel) on(f func(s *Shard, slot uint32)) {
	if !m.out {
		m.r.on(m.shard, func(s *Shard) {
			if slot, ok := s.Lookup(m.id); ok {
				f(s, slot)
			} else {
				m.t.Errorf("connection %#x is gone", uint64(m.id))
			}
		})
	}
}

func (m *detachModel) clientWrites(t *rapid.T) {
	p := numbers(len(m.written), rapid.IntRange(1, 5000).Draw(t, "bytes"))
	n, err := unix.Write(m.client, p)
	if err != nil && err != unix.EAGAIN {
		t.Fatal(err)
	}
	m.written = append(m.written, p[:max(n, 0)]...)
}

// clientReads returns whether there was anything.
func (m *detachModel) clientReads() bool {
	p := make([]byte, 5000)
	n, _ := unix.Read(m.client, p)
	m.read = append(m.read, p[:max(n, 0)]...)
	return n > 0
}

func (m *detachModel) serverSends(t *rapid.T) {
	if m.writeClosed {
		return
	}
	p := numbers(len(m.sent), rapid.IntRange(1, 5000).Draw(t, "bytes"))
	m.sent = append(m.sent, p...)
	if m.out {
		m.sock.Unsent = append(m.sock.Unsent, p...)
		n, _ := unix.Write(m.sock.FD, m.sock.Unsent)
		m.sock.Unsent = m.sock.Unsent[max(n, 0):]
		return
	}
	m.on(func(s *Shard, slot uint32) { s.Send(slot, Bytes(p), Data) })
}

func (m *detachModel) closeWrite() {
	m.writeClosed = true
	m.sock.CloseWrite = m.out
	m.on(func(s *Shard, slot uint32) { s.CloseWrite(slot) })
}

func (m *detachModel) setTake(n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.take = n
}

func (m *detachModel) detach() {
	m.on(func(s *Shard, slot uint32) {
		var ok bool
		if m.sock, ok = s.Detach(slot, nil); !ok {
			m.t.Error("Detach refused")
		}
	})
	m.out = true
}

// detachInData has the handler detach the connection when it is next shown
// bytes, for which it has to be read.
func (m *detachModel) detachInData(t *rapid.T) {
	if m.out {
		return
	}
	given := make(chan Socket, 1)
	m.on(func(s *Shard, slot uint32) {
		m.mu.Lock()
		m.giveAway = given
		m.mu.Unlock()
		s.Pause(slot)
		s.Resume(slot)
	})
	for len(given) == 0 {
		m.clientWrites(t)
		m.r.on(m.shard, func(*Shard) {})
	}
	m.sock, m.out = <-given, true
}

// readOutside consumes what is unread, and then a piece of what the socket has.
func (m *detachModel) readOutside() {
	if !m.out {
		return
	}
	p := make([]byte, 3000)
	n, _ := unix.Read(m.sock.FD, p)
	m.received = append(append(m.received, m.sock.Unread...), p[:max(n, 0)]...)
	m.sock.Unread = nil
}

func (m *detachModel) adopt(shard int) {
	if m.out {
		m.shard, m.out = shard, false
		m.id = m.r.adopt(shard, m.sock)
		m.sock = Socket{}
	}
}

func (m *detachModel) move() {
	id := make(chan ID, 1)
	m.on(func(s *Shard, slot uint32) { s.Move(slot, 1-m.shard, id, nil) })
	if !m.out {
		m.shard = 1 - m.shard
		m.id = <-id
	}
}

// end has the rest of both streams arrive, and the client leave.
func (m *detachModel) end(t *rapid.T) {
	m.setTake(1 << 20)
	m.adopt(0)
	m.on(func(s *Shard, slot uint32) { s.Pause(slot); s.Resume(slot) })
	eventually(m.t, "all arrived", func() bool {
		m.clientReads()
		m.mu.Lock()
		defer m.mu.Unlock()
		return len(m.received) >= len(m.written) && len(m.read) >= len(m.sent)
	})
	if !bytes.Equal(m.received, numbers(0, len(m.written))) || !bytes.Equal(m.read, numbers(0, len(m.sent))) {
		t.Errorf("%d bytes received of %d, %d read of %d, or others", len(m.received), len(m.written), len(m.read), len(m.sent))
	}
	if m.writeClosed {
		eventually(m.t, "the end of what is sent", func() bool {
			n, err := unix.Read(m.client, make([]byte, 1))
			return n == 0 && err == nil
		})
	}
	unix.Close(m.client)
	eventually(m.t, "closed", func() bool { return m.r.Stats().Connections == 0 })
}

// However often a connection changes hands, in whatever state, each side gets
// what the other one sent, and nothing stays behind.
func TestDetachModel(t *testing.T) {
	var m *detachModel
	r := newRig(t, Options{Backlog: Bounds{Frames: 1 << 20, Bytes: 1 << 30}}, func(h *echoHandler) {
		h.mail = runMail
		h.open = reportID
		h.data = func(s *Shard, slot uint32, p []byte) int { return m.data(s, slot, p) }
	})
	before := r.descriptors(t)
	root := t
	rapid.Check(t, func(t *rapid.T) {
		ours, peer := socketPair(root)
		unix.SetNonblock(peer, true)
		m = &detachModel{t: root, r: r, client: peer, take: 100, out: true, sock: Socket{FD: ours}}
		m.adopt(0)
		t.Repeat(map[string]func(*rapid.T){
			"client writes":  m.clientWrites,
			"client reads":   func(*rapid.T) { m.clientReads() },
			"server sends":   m.serverSends,
			"take":           func(t *rapid.T) { m.setTake(rapid.IntRange(0, 3000).Draw(t, "take")) },
			"pause":          func(*rapid.T) { m.on(func(s *Shard, slot uint32) { s.Pause(slot) }) },
			"resume":         func(*rapid.T) { m.on(func(s *Shard, slot uint32) { s.Resume(slot) }) },
			"defer":          func(*rapid.T) { m.on(func(s *Shard, slot uint32) { s.Defer(slot) }) },
			"set timer":      func(*rapid.T) { m.on(func(s *Shard, slot uint32) { s.SetTimer(slot, s.Now()+5) }) },
			"close write":    func(*rapid.T) { m.closeWrite() },
			"detach":         func(*rapid.T) { m.detach() },
			"detach in data": m.detachInData,
			"read outside":   func(*rapid.T) { m.readOutside() },
			"adopt":          func(t *rapid.T) { m.adopt(rapid.IntRange(0, 1).Draw(t, "shard")) },
			"move":           func(*rapid.T) { m.move() },
		})
		m.end(t)
	})
	st := r.Stats()
	if st.Adopted+st.MovedIn != st.MovedOut+st.Detached+st.Closed || st.Detached == 0 || st.MovedOut == 0 {
		t.Errorf("%+v", st)
	}
	if st.InboundBytes != 0 || st.BacklogBytes != 0 || openDescriptors(t) != before {
		t.Errorf("%d bytes in, %d bytes out, %d descriptors for %d", st.InboundBytes, st.BacklogBytes, openDescriptors(t), before)
	}
}
