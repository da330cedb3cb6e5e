package poller

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// detachRig has one shard, whose handler leaves all bytes unread until a test sets
// a data hook.
func detachRig(t *testing.T, o Options) *rig {
	o.Shards = 1
	return newRig(t, o, func(h *echoHandler) {
		h.mail = runMail
		h.open = reportID
		h.data = func(*Shard, uint32, []byte) int { return 0 }
	})
}

// descriptors counts the open descriptors, including the rings that shards make at
// their first send.
func (r *rig) descriptors(t *testing.T) int {
	for i := range r.shards {
		r.on(i, func(s *Shard) { s.sender.stage.usable() })
	}
	return openDescriptors(t)
}

// unread waits until a connection has n unread bytes.
func (r *rig) unread(t *testing.T, id ID, n int) {
	t.Helper()
	eventually(t, "unread bytes", func() (there bool) {
		r.on(0, func(s *Shard) { there = len(s.receiver.accounts.unread(s.at(id.Slot()))) == n })
		return there
	})
}

// receive returns what another goroutine sends, or fails.
func receive[T any](t *testing.T, from <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-from:
	case <-time.After(time.Minute):
		t.Fatal("never: something from the shard")
	}
	return v
}

// nothingLeft checks that a shard holds nothing of a connection that was detached
// with a descriptor.
func nothingLeft(t *testing.T, s *Shard, id ID, fd int) {
	t.Helper()
	if _, ok := s.Lookup(id); ok || s.slab.Len() != 0 {
		t.Errorf("the connection is found; %d records in use", s.slab.Len())
	}
	if _, ok := watched(t, int(s.epfd), fd); ok {
		t.Error("the descriptor is in the epoll set")
	}
	if a, q := s.receiver.accounts.index.Len(), s.sender.backlogs.queues.Len(); a != 0 || q != 0 || s.timers.wheel.armed != 0 {
		t.Errorf("%d accounts, %d queues, %d timers are left", a, q, s.timers.wheel.armed)
	}
	if in, out := s.loop.input.held.Load(), s.loop.nodeBytes.Load(); in != 0 || out != 0 {
		t.Errorf("%d bytes in and %d bytes out are still counted", in, out)
	}
}

// fillBacklog sends lines to a connection that does not read, until one has to
// wait.
func fillBacklog(s *Shard, slot uint32) (sent int) {
	for s.sendNow(slot, Shared(NewFrames(numbered(sent, 1000, 0))), Data) != sendQueued {
		sent++
	}
	return sent + 1
}

// detachState is a state in which a connection is detached.
type detachState struct {
	name       string
	input      string // bytes that the client sends and the shard reads before
	make       func(s *Shard, slot uint32, client *net.UnixConn)
	unread     string
	backlog    bool
	closeWrite bool
	client     string // bytes that it gets before those of the new owner
	socket     string // bytes in it for the new owner
	ended      bool   // the client has closed its side
}

var detachStates = []detachState{
	{name: "idle"},
	{name: "unread bytes", input: "begun", unread: "begun"},
	{name: "paused", input: "begun", unread: "begun", socket: "more", make: func(s *Shard, slot uint32, client *net.UnixConn) {
		s.Pause(slot)
		client.Write([]byte("more"))
	}},
	{name: "resumed", input: "begun", unread: "begun", make: func(s *Shard, slot uint32, _ *net.UnixConn) {
		s.Pause(slot)
		s.Resume(slot)
	}},
	{name: "deferred", input: "begun", unread: "begun", make: func(s *Shard, slot uint32, _ *net.UnixConn) { s.Defer(slot) }},
	{name: "charged", make: func(s *Shard, slot uint32, _ *net.UnixConn) { s.Charge(slot, 1000) }},
	{name: "timer", make: func(s *Shard, slot uint32, _ *net.UnixConn) { s.SetTimer(slot, s.Now()+1) }},
	{name: "staged", client: "staged ", make: func(s *Shard, slot uint32, _ *net.UnixConn) {
		s.Send(slot, Bytes([]byte("staged ")), Data)
	}},
	{name: "backlog", backlog: true},
	{name: "half-closed", closeWrite: true, make: func(s *Shard, slot uint32, _ *net.UnixConn) { s.CloseWrite(slot) }},
	{name: "half-closed, staged", closeWrite: true, client: "bye", make: func(s *Shard, slot uint32, _ *net.UnixConn) {
		s.Send(slot, Bytes([]byte("bye")), Last)
		s.CloseWrite(slot)
	}},
	{name: "half-closed, backlog", closeWrite: true, backlog: true, make: func(s *Shard, slot uint32, _ *net.UnixConn) { s.CloseWrite(slot) }},
	{name: "half-closed by the client", input: "begun", unread: "begun", socket: "more", ended: true, make: func(_ *Shard, _ uint32, client *net.UnixConn) {
		client.Write([]byte("more"))
		client.CloseWrite() // the shard does not notice before it detaches
	}},
}

// A connection can be detached in any state. Unread and unsent bytes come with it,
// and nothing of it is left.
func TestDetachStates(t *testing.T) {
	for _, state := range detachStates {
		t.Run(state.name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, o Options) { detachIn(t, o, &state) })
		})
	}
}

func detachIn(t *testing.T, o Options, state *detachState) {
	r := detachRig(t, o)
	c, id := r.pair(0)
	client := c.(*net.UnixConn)
	io.WriteString(client, state.input)
	r.unread(t, id, len(state.input))
	var sock Socket
	var lines int
	r.on(0, func(s *Shard) {
		slot := id.Slot()
		if state.backlog {
			lines = fillBacklog(s, slot)
		}
		if state.make != nil {
			state.make(s, slot, client)
		}
		var ok bool
		if sock, ok = s.Detach(slot, nil); !ok {
			t.Error("Detach refused")
			return
		}
		nothingLeft(t, s, id, sock.FD)
	})
	if t.Failed() {
		return
	}
	defer unix.Close(sock.FD)
	if string(sock.Unread) != state.unread || (len(sock.Unsent) > 0) != state.backlog || sock.CloseWrite != state.closeWrite {
		t.Errorf("unread %q, %d bytes unsent, close write %v", sock.Unread, len(sock.Unsent), sock.CloseWrite)
	}
	r.Loop.Tick(2)
	r.settle(0)
	h := r.handlers[0]
	if st := r.Stats(); h.closed.Load() != 0 || len(h.timers) != 0 || st.Connections != 0 || st.Closed != 0 || st.Detached != 1 {
		t.Errorf("%d calls of OnClose, %d of OnTimer, %+v", h.closed.Load(), len(h.timers), st)
	}
	checkOwner(t, sock, client, state.socket, state.ended)
	checkClient(t, sock, client, state.client, lines)
}

// checkOwner reads the bytes that are still in the socket.
func checkOwner(t *testing.T, sock Socket, client *net.UnixConn, holds string, ended bool) {
	t.Helper()
	if !ended {
		client.CloseWrite()
	}
	unix.SetNonblock(sock.FD, false)
	var got []byte
	for p := make([]byte, 100); ; {
		n, err := unix.Read(sock.FD, p)
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			break
		}
		got = append(got, p[:n]...)
	}
	if string(got) != holds {
		t.Errorf("the socket held %q, want %q", got, holds)
	}
}

// checkClient sends the unsent bytes of a detached connection and a line of the new
// owner, and checks what the client reads.
func checkClient(t *testing.T, sock Socket, client io.Reader, want string, lines int) {
	t.Helper()
	for n := range lines {
		want += string(numbered(n, 1000, 0).b)
	}
	last := sock.Unsent
	if !sock.CloseWrite {
		want += "from outside"
		last = append(last, "from outside"...)
	}
	go func() { // the client may have to read first
		for len(last) > 0 {
			n, err := unix.Write(sock.FD, last)
			if err != nil {
				t.Errorf("sending from outside: %v", err)
				break
			}
			last = last[n:]
		}
		unix.Shutdown(sock.FD, unix.SHUT_WR)
	}()
	got, err := io.ReadAll(client)
	if err != nil || string(got) != want {
		t.Errorf("the client got %d bytes, %.40q, %v; want %d", len(got), got, err, len(want))
	}
}

// A connection stays if its handler is still to be told something, and the handler
// is told.
func TestDetachRefused(t *testing.T) {
	for name, make := range map[string]func(s *Shard, slot uint32, client net.Conn){
		"closed": func(s *Shard, slot uint32, _ net.Conn) { s.Close(slot) },
		"broken": func(s *Shard, slot uint32, client net.Conn) {
			client.Close()
			s.Send(slot, Bytes([]byte("into the void")), Data)
		},
	} {
		t.Run(name, func(t *testing.T) {
			bothWays(t, func(t *testing.T, o Options) {
				r := detachRig(t, o)
				before := r.descriptors(t)
				client, id := r.pair(0)
				r.on(0, func(s *Shard) {
					make(s, id.Slot(), client)
					if sock, ok := s.Detach(id.Slot(), nil); ok || sock.FD != 0 {
						t.Errorf("detached: %+v", sock)
					}
				})
				want := map[string]Reason{"closed": ReasonHandler, "broken": ReasonWrite}[name]
				if got := receive(t, r.handlers[0].reasons); got != want {
					t.Errorf("cause %d, want %d", got, want)
				}
				client.Close()
				eventually(t, "descriptors closed", func() bool { return openDescriptors(t) == before })
				r.settle(0) // it is counted after that
				if st := r.Stats(); st.Detached != 0 || st.Closed != 1 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

// A connection that has lost a send can be detached only after its handler was
// told.
func TestDetachAfterLostSend(t *testing.T) {
	for name, o := range map[string]Options{
		"backlog full": {Backlog: Bounds{Frames: 3}},
		"evicted":      {NodeBytes: 20 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			r := detachRig(t, o)
			_, id := r.pair(0)
			_, other := r.pair(0)
			detached := make(chan struct{}, 1)
			r.on(0, func(s *Shard) {
				r.handlers[0].failed = func(slot uint32, _ SendResult) {
					if slot != id.Slot() {
						return
					}
					if sock, ok := s.Detach(slot, nil); ok { // not before the last failure was told
						unix.Close(sock.FD)
						detached <- struct{}{}
					}
				}
				size := 12 << 10
				for range 6 {
					s.Send(id.Slot(), Bytes(make([]byte, size)), Data)
					s.Send(other.Slot(), Bytes(make([]byte, size/4)), Data)
				}
				if !s.sender.untold(id.Slot()) {
					t.Error("no send was refused: the test shows nothing")
				}
				if _, ok := s.Detach(id.Slot(), nil); ok {
					t.Error("detached before the handler knew")
				}
			})
			receive(t, detached)
		})
	}
}

// Detach works within every call of the handler. The slot is not used again before
// the call has returned, and no other call is made for the connection.
func TestDetachWithinCalls(t *testing.T) {
	for call, unread := range map[string]string{
		"OnOpen": "", "OnData": " and half\n", "OnData, all consumed": "", "OnTimer": "half", "OnTick": "half", "OnWork": "half",
	} {
		t.Run(call, func(t *testing.T) {
			out := make(chan Socket, 1)
			r := newRig(t, Options{Shards: 1}, func(e *echoHandler) { e.mail = runMail })
			ours, peer := socketPair(t)
			client := fileConn(t, peer)
			h := &detachHandler{Handler: r.handlers[0], t: t, s: r.Shard(0), call: call, armed: true, out: out, opened: make(chan ID, 1)}
			r.on(0, func(s *Shard) { s.handler = h })
			if err := r.Adopt(0, Socket{FD: ours}); err != nil {
				t.Fatal(err)
			}
			if call != "OnOpen" {
				id := receive(t, h.opened)
				io.WriteString(client, "half")
				r.unread(t, id, len("half"))
				r.on(0, func(s *Shard) { s.SetTimer(id.Slot(), s.Now()+1); h.ready = true })
				if strings.HasPrefix(call, "OnData") {
					io.WriteString(client, " and half\n")
				} else {
					r.Loop.Tick(1)
				}
			}
			sock := receive(t, out)
			if string(sock.Unread) != unread {
				t.Errorf("unread %q, want %q", sock.Unread, unread)
			}
			r.settle(0)
			r.on(0, func(s *Shard) { nothingLeft(t, s, 0, sock.FD) })
			if st := r.Stats(); st.Closed != 0 || st.Panics != 0 || st.Detached != 1 {
				t.Errorf("%+v", st)
			}
			unix.Close(sock.FD)
			if _, err := client.Read([]byte{0}); err != io.EOF {
				t.Errorf("the client reads %v, want the end", err)
			}
		})
	}
}

// detachHandler detaches the only connection within the named call, after the test
// has said that it is ready.
type detachHandler struct {
	Handler
	t            *testing.T
	s            *Shard
	call         string
	armed, ready bool
	opened       chan ID
	out          chan Socket
}

func (h *detachHandler) detach(slot uint32, unread []byte) {
	h.armed = false
	sock, ok := h.s.Detach(slot, unread)
	if !ok {
		h.t.Error("Detach refused")
	}
	if _, ok := h.s.Next(0); ok {
		h.t.Error("the slot is still in use")
	}
	h.out <- sock
}

func (h *detachHandler) in(call string) {
	if h.armed && h.ready && h.call == call {
		h.detach(0, nil)
	}
}

func (h *detachHandler) OnOpen(slot uint32, _ any) {
	if h.call == "OnOpen" {
		h.detach(slot, nil)
		return
	}
	h.opened <- h.s.ID(slot)
}

func (h *detachHandler) OnData(slot uint32, p []byte) int {
	if !h.ready || !strings.HasPrefix(h.call, "OnData") {
		return 0
	}
	take := len("half")
	if h.call == "OnData, all consumed" {
		take = len(p)
	}
	h.detach(slot, p[take:])
	return 0
}

func (h *detachHandler) OnTimer(uint32) { h.in("OnTimer") }
func (h *detachHandler) OnTick()        { h.Handler.OnTick(); h.in("OnTick") }
func (h *detachHandler) OnWork() bool   { h.in("OnWork"); return h.Handler.OnWork() }
