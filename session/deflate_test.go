package session

import (
	"bytes"
	"compress/flate"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
	"belfry/poller"
	"belfry/wire"
	"belfry/wire/plain"
	"belfry/wire/v1"
	"belfry/wire/websocket"
	"belfry/ws"
)

// withDeflate is the default endpoint with deflate.
func withDeflate(tb testing.TB) []wire.Endpoint {
	tb.Helper()
	d, err := websocket.NewDeflate(ws.DeflateOptions{})
	if err != nil {
		tb.Fatal(err)
	}
	return []wire.Endpoint{websocket.New(websocket.Options{Deflate: d, Encodings: []websocket.Encoding{
		{Encoding: plain.Encoding{}}, {Encoding: v1.Encoding{}, Subprotocol: v1.Name},
	}})}
}

// deflated is a client's frame whose payload is compressed.
func deflated(op gobwas.OpCode, fin bool, payload []byte) []byte {
	var out bytes.Buffer
	w, _ := flate.NewWriter(&out, flate.BestSpeed)
	w.Write(payload)
	w.Flush()
	return rsv1(masked(op, fin, bytes.TrimSuffix(out.Bytes(), []byte("\x00\x00\xff\xff"))))
}

func rsv1(frame []byte) []byte {
	frame[0] |= 0x40
	return frame
}

// deflateRequest asks for path and offers deflate.
func deflateRequest(path, subprotocol string) []byte {
	head := bytes.TrimSuffix(request(path, subprotocol), []byte("\r\n"))
	return append(head, "Sec-WebSocket-Extensions: permessage-deflate\r\n\r\n"...)
}

// deflateWire upgrades with deflate.
func (r *rig) deflateWire(path, subprotocol string) *rawConn {
	r.t.Helper()
	w, err := r.connect()
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { w.Close() })
	w.Write(deflateRequest(path, subprotocol))
	if status, err := w.answer(); err != nil || status != 101 {
		r.t.Fatalf("%s: %d, %v", path, status, err)
	}
	return w
}

// padded is a belfry.v1 command of so many bytes, nearly all of them spaces.
func padded(size int) []byte {
	const command = `{"type":"ping"}`
	return []byte(command + strings.Repeat(" ", size-len(command)))
}

// What a message inflates to counts for session.byte_rate: four commands of
// 16 KiB use up 64 KiB, however few bytes they came in.
func TestInflatedBytesHaveAPrice(t *testing.T) {
	whole := deflated(gobwas.OpText, true, padded(16<<10))
	halves := deflated(gobwas.OpText, false, padded(16<<10))
	halves = append(halves, masked(gobwas.OpContinuation, true, nil)...)
	for name, message := range map[string][]byte{"one frame": whole, "fragments": halves} {
		r := newRig(t, Options{Poller: onePoller(), Endpoints: withDeflate(t), Limits: ws.Limits{MaxMessage: 16 << 10},
			Rates: Rates{Bytes: 16 << 10, ByteBurst: 64 << 10, Grace: maxTime}})
		w := r.deflateWire("/ws", v1.Name)
		w.expect(t, `"hello"`)
		w.Write(bytes.Repeat(message, 100))
		if n := w.acks(t, `"code":"rate_limited"`); n != 4 {
			t.Errorf("%s: slowed down after %d messages of %d bytes; want 4", name, n, len(message))
		}
		r.tick(1)
		r.tick(1)
		w.expect(t, `"ack"`)
		if st := r.Stats(); st.Limits["session.byte_rate"] == 0 {
			t.Errorf("%s: %v", name, st.Limits)
		}
	}
}

// A compressed message is no answer to a ping, which is free.
func TestInflatedMessageIsNoPong(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), Endpoints: withDeflate(t), Limits: ws.Limits{MaxMessage: 16 << 10},
		PingInterval: 10 * time.Second, PongTimeout: 5 * time.Second, Rates: Rates{Bytes: 16 << 10, ByteBurst: 64 << 10}})
	w := r.deflateWire("/ws", "")
	for _, c := range []struct {
		frame []byte
		free  bool
	}{{masked(gobwas.OpPong, true, nil), true}, {deflated(gobwas.OpText, true, padded(16<<10)), false}} {
		r.ticks(11)
		if op, _, err := w.frame(); err != nil || op != gobwas.OpPing {
			t.Fatal(op, err)
		}
		before := r.Stats().FramesIn
		w.Write(c.frame)
		eventually(t, "read", func() bool { return r.Stats().FramesIn > before })
		r.on(0, func(h *shard) {
			if slot, _ := h.ps.Next(0); (h.rec(slot).flags&flagMetered == 0) != c.free {
				t.Errorf("%d bytes: free: %v; want %v", len(c.frame), !c.free, c.free)
			}
		})
	}
}

// Messages that inflate to a lot are decoded a few at a time: when the chunk is
// over the rest of the read waits, and other work of the shard gets its turn.
func TestInflatingLooksAtTheClock(t *testing.T) {
	r := newRig(t, Options{Endpoints: withDeflate(t), Poller: poller.Options{Shards: 1, Chunk: 1}})
	w := r.deflateWire("/ws", "")
	burst := bytes.Repeat(deflated(gobwas.OpText, true, padded(64<<10)), 10)
	decoded := func() (n uint64) {
		r.on(0, func(h *shard) { n = h.counters.framesIn.Load() })
		return n
	}
	for range 50 {
		before := decoded()
		w.Write(burst)
		for n := before; n < before+10; n = decoded() {
			if n > before {
				return // between two turns some are decoded and others are not
			}
		}
	}
	t.Error("ten messages of 64 KiB were always decoded in one go")
}

// The clock is looked at also before the message of another session.
func TestInflatingForSeveralLooksAtTheClock(t *testing.T) {
	const sessions = 6
	r := newRig(t, Options{Endpoints: withDeflate(t), Poller: poller.Options{Shards: 1, Chunk: time.Nanosecond}})
	var all [sessions]*rawConn
	for i := range all {
		all[i] = r.deflateWire("/ws", "")
	}
	one := deflated(gobwas.OpText, true, padded(64<<10))
	decoded := make(chan uint64, 1)
	// first reports how many messages the first turn has decoded that decoded
	// any: a turn reads sockets first and mail afterwards.
	var first func(h *shard)
	first = func(h *shard) {
		if n := h.counters.framesIn.Load(); n > 0 || !h.ps.Post(poller.QueueSingle, poller.Mail{Kind: mailCall, Ptr: first}) {
			decoded <- n
		}
	}
	r.on(0, func(h *shard) { // the shard is blocked, so that all messages arrive before it reads
		for _, w := range all {
			w.Write(one)
		}
		first(h)
	})
	if n := <-decoded; n != 1 {
		t.Errorf("%d messages of 64 KiB were decoded in a turn whose time was over after the first", n)
	}
}

// The clock is looked at after each compressed message, however small it is.
func TestClockAfterEachCompressedMessage(t *testing.T) {
	for _, size := range []int{256, 64 << 10} {
		one := deflated(gobwas.OpText, true, padded(size))
		r := newRig(t, Options{Endpoints: withDeflate(t), Poller: poller.Options{Shards: 1, Chunk: time.Nanosecond}})
		w := r.deflateWire("/ws", v1.Name)
		w.expect(t, `"hello"`)
		r.on(0, func(h *shard) {
			slot, _ := h.ps.Next(0)
			if used := h.OnData(slot, bytes.Repeat(one, 10)); used != len(one) {
				t.Errorf("%d bytes: %d compressed messages were decoded in one piece", size, used/len(one))
			}
		})
		w.expect(t, `"ack"`)
	}
}

// A message that inflates beyond the limit costs its connection only, and no
// more memory than the limit.
func TestDeflateBomb(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), Endpoints: withDeflate(t)})
	witness := r.deflateWire("/ws", v1.Name)
	witness.expect(t, `"hello"`)
	bombs := map[string][]byte{
		"whole":      deflated(gobwas.OpText, true, padded(16<<20)),
		"fragmented": append(deflated(gobwas.OpBinary, false, make([]byte, 10<<20)), masked(gobwas.OpContinuation, true, nil)...),
	}
	for name, bomb := range bombs {
		w := r.deflateWire("/ws", "")
		w.Write(bomb)
		if _, code, reason, err := w.end(); err != nil || code != 1009 || !strings.Contains(reason, "inflated") {
			t.Errorf("%s: %d %q, %v", name, code, reason, err)
		}
		w.ended(t)
		w.Close()
	}
	w := r.deflateWire("/ws", "")
	w.Write(rsv1(masked(gobwas.OpText, true, []byte("\xff\xff\xff"))))
	if _, code, _, err := w.end(); err != nil || code != 1007 {
		t.Errorf("not valid: %d, %v", code, err)
	}
	w.Close()
	eventually(t, "one left", func() bool { return r.loop.Stats().Connections == 1 })
	st := r.Stats()
	if st.Closed["too_big"] != 2 || st.Closed["deflate"] != 1 || st.Limits["session.max_message"] != 2 || st.Poller.InboundBytes != 0 {
		t.Errorf("%v, %v, %d bytes in", st.Closed, st.Limits, st.Poller.InboundBytes)
	}
	witness.Write(deflated(gobwas.OpText, true, padded(1000)))
	witness.expect(t, `"ack"`)
}

// Of a broadcast all sessions with deflate get the same compressed bytes, those
// without the plain ones, and each small message comes as it is.
func TestDeflateOnePerBroadcast(t *testing.T) {
	endpoints := withDeflate(t)
	r := newRig(t, Options{Endpoints: endpoints})
	var with, without []*rawConn
	for range 8 {
		with, without = append(with, r.deflateWire("/ws", "")), append(without, r.mustWire("/ws", ""))
	}
	text := strings.Repeat("once per broadcast ", 200)
	r.deliver(message.ToAll(), text)
	r.deliver(message.ToAll(), "small")
	for _, w := range without {
		w.expect(t, text, "small")
	}
	for _, w := range with {
		f, err := readFrame(w.br)
		if err != nil || f.Header.Rsv == 0 || len(f.Payload) > len(text)/4 {
			t.Fatalf("%+v, %v", f.Header, err)
		}
		w.expect(t, "small")
	}
	transport := endpoints[0].Variants()[2].Transport.(*websocket.Deflate)
	if st := transport.Stats(); st.Compressed != 1 || st.Saved < uint64(len(text))/2 {
		t.Errorf("%d messages compressed, %d bytes saved", st.Compressed, st.Saved)
	}
}

// jsonish is about 4 KiB of JSON that compresses as JSON does.
func jsonish() []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	p := []byte("[")
	for len(p) < 4<<10 {
		p = fmt.Appendf(p, `{"id":%d,"symbol":"BLF%d","price":%.2f,"bid":%.2f},`, rng.IntN(1e9), rng.IntN(100), 100*rng.Float64(), 100*rng.Float64())
	}
	return append(p[:len(p)-1], ']')
}

// A compressed message of 4 KiB allocates nothing on its way in.
func TestInboundDeflatedDoesNotAllocate(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector allocates")
	}
	s := newDeflateServer(t)
	c := deflateClient(t, s)
	const batch = 64
	burst := bytes.Repeat(deflated(gobwas.OpText, true, jsonish()), batch)
	want := s.shards[0].counters.framesIn.Load()
	send := func() {
		want += batch
		for p := burst; len(p) > 0; {
			n, err := c.Write(p)
			if err != nil {
				t.Fatal(err)
			}
			p = p[n:]
		}
		for s.shards[0].counters.framesIn.Load() < want {
			gosched()
		}
	}
	send()                                          // buffers are made
	if n := testing.AllocsPerRun(20, send); n > 1 { // of the test's own, if any
		t.Errorf("%v allocations for %d messages", n, batch)
	}
}

// BenchmarkInboundDeflated measures a compressed message of 4 KiB from recv to
// the handler: one operation is one message of a plain session, which is
// counted and dropped.
func BenchmarkInboundDeflated(b *testing.B) {
	const batch = 64
	s := newDeflateServer(b)
	c := deflateClient(b, s)
	burst := bytes.Repeat(deflated(gobwas.OpText, true, jsonish()), batch)
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += batch {
		if _, err := c.Write(burst); err != nil {
			b.Fatal(err)
		}
		for s.shards[0].counters.framesIn.Load() < uint64(n+batch) {
			gosched()
		}
	}
}

func newDeflateServer(tb testing.TB) *Server {
	tb.Helper()
	s, err := New(Options{Endpoints: withDeflate(tb), Poller: poller.Options{
		Shards: 1, Listen: []poller.PortRange{{Host: "127.0.0.1"}}, ManualTicks: true,
		Chunk: time.Second, // a read that is deferred takes a buffer
	}})
	if err != nil {
		tb.Fatal(err)
	}
	if err := s.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { s.close() })
	return s
}

// deflateClient upgrades with deflate over a bare socket.
func deflateClient(tb testing.TB, s *Server) net.Conn {
	tb.Helper()
	return bareClient(tb, s, deflateRequest("/ws", ""))
}
