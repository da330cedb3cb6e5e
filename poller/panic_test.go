package poller

import (
	"io"
	"strings"
	"sync"
	"testing"
)

// panicHandler panics once in the method that is named, then echoes.
type panicHandler struct {
	echoHandler
	mu   sync.Mutex
	arm  string
	seen chan string
}

func (h *panicHandler) set(method string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.arm = method
}

func (h *panicHandler) trap(method string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.arm == method {
		h.arm = ""
		h.seen <- method
		panic("asked for in " + method)
	}
}

func (h *panicHandler) OnOpen(slot uint32, state any) {
	h.trap("OnOpen")
	reportID(h.s, slot, state)
}

func (h *panicHandler) OnMoved(slot uint32, _ any) { h.trap("OnMoved") }

func (h *panicHandler) OnData(slot uint32, p []byte) int {
	h.trap("OnData")
	return h.echoHandler.OnData(slot, p)
}
func (h *panicHandler) OnTimer(uint32) { h.trap("OnTimer") }
func (h *panicHandler) OnClose(slot uint32, c Reason, err error) {
	h.trap("OnClose")
	h.echoHandler.OnClose(slot, c, err)
}

func (h *panicHandler) OnMail(m Mail) {
	h.trap("OnMail")
	h.echoHandler.OnMail(m)
}
func (h *panicHandler) OnTick()      { h.trap("OnTick") }
func (h *panicHandler) OnWork() bool { h.trap("OnWork"); return false }
func (h *panicHandler) OnStop()      { h.trap("OnStop") }

// A panic in any method of a handler is counted, costs at most the
// connection it happened in, and leaves the shard working.
func TestPanicEverywhere(t *testing.T) {
	var h *panicHandler
	l, err := New(Options{Shards: 1, ManualTicks: true, NewHandler: func(s *Shard) Handler {
		h = &panicHandler{seen: make(chan string, 1)}
		h.echoHandler = echoHandler{s: s, causes: make(chan Reason, 64), mail: runMail}
		return h
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Start(); err != nil {
		t.Fatal(err)
	}
	r := &rig{Loop: l, t: t}
	t.Cleanup(func() { closeLoop(t, l) })
	good, goodID := r.pair(0)
	ask(t, good, "before")
	for i, trial := range []struct {
		method  string
		provoke func(victim io.ReadWriteCloser, id ID)
		costs   bool // the connection
	}{
		{"OnData", func(v io.ReadWriteCloser, _ ID) { v.Write([]byte("x\n")) }, true},
		{"OnTimer", func(_ io.ReadWriteCloser, id ID) {
			r.on(0, func(s *Shard) { s.SetTimer(id.Slot(), s.Now()+1) })
			l.Tick(1)
		}, true},
		{"OnClose", func(v io.ReadWriteCloser, _ ID) { v.Close() }, true},
		{"OnMail", func(io.ReadWriteCloser, ID) { l.Shard(0).Post(QueueSingle, Mail{}) }, false},
		{"OnTick", func(io.ReadWriteCloser, ID) { l.Tick(1) }, false},
		{"OnWork", func(v io.ReadWriteCloser, _ ID) { v.Write([]byte("x")) }, false},
	} {
		victim, id := r.pair(0)
		ask(t, victim, "still well")
		h.set(trial.method)
		trial.provoke(victim, id)
		if got := <-h.seen; got != trial.method {
			t.Fatalf("panic in %s, want %s", got, trial.method)
		}
		eventually(t, trial.method+" counted", func() bool { return l.Stats().Panics == uint64(i+1) })
		ask(t, good, "after "+trial.method)
		want := 2
		if trial.costs {
			want = 1
			eventually(t, trial.method+": victim is closed", func() bool { return l.Stats().Connections == 1 })
		} else if n := l.Stats().Connections; n != want {
			t.Errorf("%s: %d connections, want %d", trial.method, n, want)
		}
		victim.Close()
		eventually(t, "only the good one left", func() bool { return l.Stats().Connections == 1 })
	}

	for method, come := range map[string]func(ours int){
		"OnOpen":  func(ours int) { l.Adopt(0, Socket{FD: ours}) },
		"OnMoved": func(ours int) { l.Shard(0).Post(QueueMove, Mail{Ptr: &arrival{Socket: Socket{FD: ours}}}) },
	} {
		h.set(method)
		ours, peer := socketPair(t)
		victim := fileConn(t, peer)
		come(ours)
		<-h.seen
		if b, err := io.ReadAll(victim); err != nil || len(b) > 0 {
			t.Errorf("the connection whose %s panicked: %q, %v", method, b, err)
		}
	}
	r.on(0, func(s *Shard) {
		if slot, ok := s.Lookup(goodID); !ok || slot != goodID.Slot() {
			t.Error("the good connection is not found")
		}
	})
	ask(t, good, strings.Repeat("after all ", 100))
	h.set("OnStop")
	closeLoop(t, l)
	if n := l.Stats().Panics; n != 9 {
		t.Errorf("%d panics counted, want 9", n)
	}
	if n := l.Stats().Connections; n != 0 {
		t.Errorf("%d connections after Close", n)
	}
}

// Bytes that a connection had left unread are shown again by Resume, outside
// of its own events: a panic there too costs that connection only.
func TestPanicInResumed(t *testing.T) {
	calls := 0
	r := newRig(t, Options{Shards: 1}, func(h *echoHandler) {
		h.mail = runMail
		h.open = reportID
		h.data = func(s *Shard, slot uint32, p []byte) int {
			if calls++; calls == 1 {
				s.Pause(slot)
				return 0
			}
			panic("asked for")
		}
	})
	c, id := r.pair(0)
	c.Write([]byte("x"))
	eventually(t, "a tail", func() bool {
		n := 0
		r.on(0, func(s *Shard) { n = s.accounts.index.Len() })
		return n == 1
	})
	r.on(0, func(s *Shard) { s.Resume(id.Slot()) })
	if b, err := io.ReadAll(c); len(b) > 0 || r.Stats().Panics != 1 {
		t.Errorf("%q, %v, %d panics; want the end and 1", b, err, r.Stats().Panics)
	}
	if got := <-r.handlers[0].causes; got != ReasonPanic {
		t.Errorf("cause %d", got)
	}
}
