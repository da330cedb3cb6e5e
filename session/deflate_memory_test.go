package session

import (
	"net"
	"runtime"
	"testing"

	gobwas "github.com/gobwas/ws"
)

// BenchmarkIdleDeflate measures the memory of an idle session, with deflate and
// without, in one run: bytes outside the Go heap and bytes in it.
func BenchmarkIdleDeflate(b *testing.B) {
	for _, c := range []struct {
		name string
		head []byte
	}{{"without", request("/ws", "")}, {"with", deflateRequest("/ws", "")}, {"without again", request("/ws", "")}} {
		b.Run(c.name, func(b *testing.B) {
			const sessions = 2000
			s := newDeflateServer(b)
			clients := make([]net.Conn, 0, sessions)
			used := func() float64 {
				runtime.GC()
				runtime.GC()
				var m runtime.MemStats
				runtime.ReadMemStats(&m)
				sum := int64(m.HeapAlloc)
				for _, n := range s.opt.Poller.Memory.Bytes() {
					sum += n
				}
				return float64(sum)
			}
			for range sessions / 2 { // what is made once
				clients = append(clients, bareClient(b, s, c.head))
			}
			before := used()
			for range sessions / 2 {
				clients = append(clients, bareClient(b, s, c.head))
			}
			b.ReportMetric((used()-before)/(sessions/2), "B/session")
			runtime.KeepAlive(clients)
		})
	}
}

// A session with deflate keeps nothing that one without does not: neither
// outside the Go heap nor in it.
func TestIdleDeflateCostsNothing(t *testing.T) {
	var bytesOf [2]map[string]int64
	for i, upgrade := range []func(r *rig) *rawConn{
		func(r *rig) *rawConn { return r.mustWire("/ws?topic=t", "") },
		func(r *rig) *rawConn { return r.deflateWire("/ws?topic=t", "") },
	} {
		r := newRig(t, Options{Poller: onePoller(), Endpoints: withDeflate(t)})
		for range 100 {
			w := upgrade(r)
			before := r.Stats().MessagesIn
			if i == 1 {
				w.Write(deflated(gobwas.OpText, true, jsonish()))
			} else {
				w.send(gobwas.OpText, jsonish())
			}
			eventually(t, "read", func() bool { return r.Stats().MessagesIn > before })
		}
		r.on(0, func(h *shard) {
			if n := h.assembly.index.Len() + h.upgrades.index.Len(); n != 0 {
				t.Errorf("%d objects are kept", n)
			}
		})
		bytesOf[i] = r.opt.Poller.Memory.Bytes()
	}
	for owner, n := range bytesOf[1] {
		if owner != "half_open" && owner != "messages" && n != bytesOf[0][owner] {
			t.Errorf("%s: %d bytes with deflate, %d without", owner, n, bytesOf[0][owner])
		}
	}
}
