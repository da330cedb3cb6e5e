package session

import (
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"
	"github.com/gorilla/websocket"

	"belfry/message"
)

// A shard does not run for a minute, as when the process is stopped. The pongs that
// came meanwhile wait in the sockets, more of them than one batch of events brings.
// No session is lost, and a client that is really dead is closed a little later.
func TestStallLosesNoSession(t *testing.T) {
	const living, dead = 600, 5
	r := newRig(t, Options{Poller: onePoller(), PingInterval: 4 * time.Second, PongTimeout: 3 * time.Second})
	var all []*rawConn
	for range living + dead {
		all = append(all, r.mustWire("/ws", ""))
	}
	for range 4 { // with jitter, pings may come early
		r.tick(1)
	}
	eventually(t, "all pinged", func() bool { return r.Stats().PingsOut == living+dead })
	r.tick(1) // the next would be the last for sessions that were pinged early
	stopped, goOn := make(chan struct{}), make(chan struct{})
	go r.on(0, func(*shard) { close(stopped); <-goOn })
	<-stopped
	for _, w := range all[:living] {
		w.send(gobwas.OpPong, nil)
	}
	r.loop.Tick(60)
	close(goOn)
	eventually(t, "pongs read", func() bool { return r.Stats().PongsIn == living })
	r.tick(1)
	if st := r.Stats(); st.Poller.Stalls != 1 || st.Poller.StalledTicks != 59 {
		t.Errorf("%d stalls, %d ticks", st.Poller.Stalls, st.Poller.StalledTicks)
	}
	for range 2 {
		r.tick(1)
	}
	eventually(t, "the dead clients closed", func() bool { return r.Stats().Sessions == living })
	r.deliver(message.ToAll(), "alive")
	for i, w := range all {
		if i >= living {
			if _, code, _, err := w.end(); err != nil || code != 4000 {
				t.Errorf("dead client: %d %v", code, err)
			}
			continue
		}
		for {
			op, p, err := w.frame()
			if err != nil || op == gobwas.OpClose {
				t.Fatalf("client %d: %q %v", i, p, err)
			}
			if op == gobwas.OpText {
				break
			}
		}
	}
}

// A real process is stopped for longer than its ping interval and pong timeout
// together.
func TestSIGSTOP(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seven seconds")
	}
	const clients = 40
	c := startChild(t, "server")
	var addr string
	c.hear("%s", &addr)
	var pings, got atomic.Int64
	var readers sync.WaitGroup
	defer readers.Wait()
	for range clients {
		conn, _, err := websocket.DefaultDialer.Dial("ws://"+addr+"/ws", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		reply := conn.PingHandler()
		conn.SetPingHandler(func(p string) error { pings.Add(1); return reply(p) })
		readers.Go(func() {
			for {
				if _, _, err := conn.ReadMessage(); err != nil {
					return
				}
				got.Add(1)
			}
		})
	}
	all := func(n *atomic.Int64, want int64) func() bool { return func() bool { return n.Load() >= want } }
	eventually(t, "a ping each", all(&pings, clients))
	c.cmd.Process.Signal(syscall.SIGSTOP)
	<-time.After(5 * time.Second) // how long it is stopped
	c.cmd.Process.Signal(syscall.SIGCONT)
	before := pings.Load()
	eventually(t, "another ping each", all(&pings, before+clients))
	c.say("still here")
	var sessions, stalls, out int
	c.hear("%d %d %d", &sessions, &stalls, &out)
	eventually(t, "the message", all(&got, clients))
	if sessions != clients || stalls == 0 {
		t.Errorf("%d of %d sessions left; %d stalls", sessions, clients, stalls)
	}
}
