package session

import (
	"io"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/poller"
)

// behind makes shard 0 find more events than it has time for, and a tick with
// them: it stops the shard, calls send, which gives each connection something to
// read, and lets the shard go on. The chunks of the shard have to be short.
func (r *rig) behind(send func()) {
	r.t.Helper()
	goOn := r.block(0)
	send()
	r.loop.Tick(1)
	goOn()
}

// shortChunks makes each shard look at a few connections in a turn.
func shortChunks() poller.Options { return poller.Options{Shards: 1, Chunk: time.Microsecond} }

// Pongs that came in time wait in the sockets when the timers of their sessions
// expire, because the shard is behind. It reads them before it judges.
func TestPongsAreReadBeforeSilenceIsJudged(t *testing.T) {
	const living, dead = 600, 5
	r := newRig(t, Options{Poller: shortChunks(), PingInterval: time.Minute, PongTimeout: time.Second})
	var all []*rawConn
	for range living + dead {
		all = append(all, r.mustWire("/ws", ""))
	}
	r.on(0, func(h *shard) {
		for slot, ok := h.ps.Next(0); ok; slot, ok = h.ps.Next(slot + 1) {
			rec := h.rec(slot)
			h.heartbeats.ping(slot, rec, h.variantOf(rec))
			h.heartbeats.arm(slot, rec)
		}
	})
	r.behind(func() {
		for _, w := range all[:living] {
			w.send(gobwas.OpPong, nil)
		}
	})
	eventually(t, "pongs read", func() bool { return r.Stats().PongsIn == living })
	for range 3 {
		r.tick(1)
	}
	eventually(t, "the dead clients closed", func() bool { return r.Stats().Sessions == living })
	for _, w := range all[living:] {
		if _, code, _, err := w.end(); err != nil || code != 4000 {
			t.Errorf("a dead client: %d %v", code, err)
		}
	}
}

// Requests that are complete in the socket are answered with 101, even if the
// shard reads them only when their time is over.
func TestRequestsAreReadBeforeTheyTimeOut(t *testing.T) {
	const n = 300
	r := newRig(t, Options{Poller: shortChunks(), UpgradeTime: time.Second, MaxPending: 1 << 12})
	req := string(request("/ws", ""))
	var all []*rawConn
	for range n {
		w, err := r.connect()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { w.Close() })
		io.WriteString(w, req[:10])
		all = append(all, w)
	}
	eventually(t, "all half-open", func() bool { return r.Stats().Pending == n })
	r.behind(func() {
		for _, w := range all {
			io.WriteString(w, req[10:])
		}
	})
	for i, w := range all {
		if status, err := w.answer(); status != 101 {
			t.Fatalf("request %d: status %d, %v", i, status, err)
		}
	}
}
