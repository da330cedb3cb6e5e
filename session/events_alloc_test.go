package session

import (
	"bytes"
	"io"
	"testing"

	gobwas "github.com/gobwas/ws"

	"belfry/poller"
	"belfry/wire"
	"belfry/ws"
)

// silent is an Events that does nothing.
type silent struct {
	recorder
	route Route
}

func (s *silent) Match(*ws.Request, string) (Route, []byte) { return s.route, nil }
func (s *silent) Opened(*Client)                            {}
func (s *silent) Received(*Client, *Inbound) bool           { return false }

// receiveCases are messages of clients, and what they may allocate: nothing without
// a route; with one what Inbound, its payload and the command hold.
var receiveCases = []struct {
	name, protocol, text string
	route                Route
	allocs               float64
}{
	{"plain without a route", "", "hello", 0, 0},
	{"plain", "", "hello", 1, 2},
	{"ping command", "belfry.v1", `{"type":"ping","ref":1}`, 0, 2},
	{"ping command with a route", "belfry.v1", `{"type":"ping","ref":1}`, 1, 2},
	{"send", "belfry.v1", `{"type":"send","event":"orders.create","topic":"orders","data":"hello"}`, 1, 7},
	{"rpc", "belfry.v1", `{"type":"rpc","ref":1,"event":"orders.create","data":{"n":1}}`, 1, 6},
}

// A session without a route costs nothing more when it receives, and one with a route
// only what the backend gets.
func TestReceiveAllocations(t *testing.T) {
	for _, c := range receiveCases {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Options{Events: &silent{route: c.route}, Poller: onePoller()})
			r.mustWire("/ws", c.protocol)
			frame := masked(gobwas.OpText, true, []byte(c.text))
			p := make([]byte, len(frame))
			r.on(0, func(h *shard) {
				n := testing.AllocsPerRun(200, func() {
					copy(p, frame) // it is unmasked in its place
					h.receiver.read(0, p)
				})
				if n > c.allocs && !raceDetector {
					t.Errorf("%v allocations; want at most %v", n, c.allocs)
				}
			})
		})
	}
}

// BenchmarkReceived measures messages of a client as BenchmarkInboundFrame does.
func BenchmarkReceived(b *testing.B) {
	b.Run("plain without Events", func(b *testing.B) { benchReceived(b, nil, "", receiveCases[0].text) })
	for _, c := range receiveCases {
		b.Run(c.name, func(b *testing.B) { benchReceived(b, &silent{route: c.route}, c.protocol, c.text) })
	}
}

func benchReceived(b *testing.B, events Events, protocol, text string) {
	const batch = 256
	s, err := New(Options{Events: events, Poller: poller.Options{Shards: 1, Listen: []poller.PortRange{{Host: "127.0.0.1"}}, ManualTicks: true}})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.close() })
	c := bareClient(b, s, request("/ws", protocol))
	burst := bytes.Repeat(masked(gobwas.OpText, true, []byte(text)), batch-1)
	burst = append(burst, masked(gobwas.OpPing, true, []byte("done"))...)
	pong := append([]byte{0x8a, 4}, "done"...)
	buf := make([]byte, 64<<10)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		if _, err := c.Write(burst); err != nil {
			b.Fatal(err)
		}
		for got := buf[:0]; !bytes.HasSuffix(got, pong) && !bytes.Contains(got, pong); {
			k, err := c.Read(buf[len(got):])
			if err != nil {
				b.Fatal(err)
			}
			if got = buf[:len(got)+k]; len(got) > len(buf)/2 {
				got = append(buf[:0], got[len(got)-len(pong):]...)
			}
		}
	}
}

// BenchmarkReply measures an answer from Server.Reply to the socket.
func BenchmarkReply(b *testing.B) {
	e := &recorder{}
	s, err := New(Options{Events: e, Poller: poller.Options{Shards: 1, Listen: []poller.PortRange{{Host: "127.0.0.1"}}, ManualTicks: true}})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.close() })
	c := bareClient(b, s, request("/ws", "belfry.v1"))
	for e.client() == nil {
		gosched()
	}
	sid, reply := e.client().SID, &wire.Reply{Ref: "1", Data: []byte("hello")}
	const batch, size = 64, len(`{"type":"ack","ref":1,"data":"hello"}`) + 2
	hello := make([]byte, 1)
	for hello[0] != '}' {
		if _, err := c.Read(hello); err != nil {
			b.Fatal(err)
		}
	}
	buf := make([]byte, batch*size)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		for range batch {
			if err := s.Reply(sid, reply); err != nil {
				b.Fatal(err)
			}
		}
		if _, err := io.ReadFull(c, buf); err != nil {
			b.Fatal(err)
		}
	}
}
