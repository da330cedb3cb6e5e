package session

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"testing"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
	"belfry/poller"
)

// BenchmarkUpgrade measures what a connection costs from connect to its 101
// and leaves, both ends on this machine.
func BenchmarkUpgrade(b *testing.B) {
	r := newBenchRig(b, 1)
	b.ReportAllocs()
	head := make([]byte, 0, 512)
	buf := make([]byte, 512)
	for i := range b.N {
		c, err := net.Dial("tcp", r.Addrs()[0].String())
		if err != nil {
			b.Fatal(err)
		}
		head = fmt.Appendf(head[:0], "GET /ws?uid=user-%011d&topic=topic-%d HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n", i, i%100)
		c.Write(head)
		if _, err := c.Read(buf); err != nil {
			b.Fatal(err)
		}
		c.Close()
	}
}

func newBenchRig(b *testing.B, shards int) *Server {
	b.Helper()
	rules, _ := message.CompilePatterns([]string{"*"})
	s, err := New(Options{
		Poller:        poller.Options{Shards: shards, Listen: []poller.PortRange{{Host: "127.0.0.1"}}, ManualTicks: true},
		Authenticator: &Open{Unproven: true, Topics: rules},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.close() })
	return s
}

// rawClient upgrades over a bare socket.
func rawClient(tb testing.TB, s *Server, path string) net.Conn {
	tb.Helper()
	return bareClient(tb, s, request(path, ""))
}

// bareClient sends a request over a bare socket and reads the head of the answer.
func bareClient(tb testing.TB, s *Server, request []byte) net.Conn {
	tb.Helper()
	c, err := net.Dial("tcp", s.Addrs()[0].String())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { c.Close() })
	c.Write(request)
	buf := make([]byte, 0, 512)
	for !bytes.HasSuffix(buf, []byte("\r\n\r\n")) {
		n, err := c.Read(buf[len(buf) : len(buf)+1])
		if err != nil {
			tb.Fatalf("%v after %q", err, buf)
		}
		buf = buf[:len(buf)+n]
	}
	return c
}

// BenchmarkDeliver measures the path shard → socket: one operation is one
// session's frame of a message to all, sent by sendto.
func BenchmarkDeliver(b *testing.B) {
	const sessions = 500
	s := newBenchRig(b, 1)
	for range sessions {
		c := rawClient(b, s, "/ws")
		go io.Copy(io.Discard, c)
	}
	m := &message.Message{ID: "1", Target: message.ToAll(), Payload: make([]byte, 128)}
	for i := range m.Payload {
		m.Payload[i] = 'x'
	}
	b.ReportAllocs()
	b.ResetTimer()
	start := s.Stats().Deliveries
	for n := 0; n < b.N; n += sessions {
		if err := s.push(m); err != nil {
			b.Fatal(err)
		}
		want := start + uint64(n+sessions)
		for s.deliveries() < want {
			gosched()
		}
	}
}

// BenchmarkInboundFrame measures a small frame from recv to the handler: one
// operation is one frame of a plain session, which is counted and dropped.
// A ping ends a batch, and its pong says that the batch was read.
func BenchmarkInboundFrame(b *testing.B) {
	const batch = 256
	s := newBenchRig(b, 1)
	c := rawClient(b, s, "/ws")
	var burst []byte
	for range batch - 1 {
		f := gobwas.MaskFrameWith(gobwas.NewTextFrame(bytes.Repeat([]byte("x"), 32)), [4]byte{1, 2, 3, 4})
		burst = append(burst, gobwas.MustCompileFrame(f)...)
	}
	burst = append(burst, gobwas.MustCompileFrame(gobwas.MaskFrameWith(gobwas.NewPingFrame(nil), [4]byte{1, 2, 3, 4}))...)
	pong := make([]byte, 2)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		if _, err := c.Write(burst); err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(c, pong); err != nil {
			b.Fatal(err)
		}
	}
}

func gosched() { runtime.Gosched() }

// deliveries reads the counter without the allocations of Stats.
func (s *Server) deliveries() (n uint64) {
	for _, h := range s.shards {
		n += h.counters.deliveries.Load()
	}
	return n
}
