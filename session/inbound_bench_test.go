package session

import (
	"bytes"
	"compress/flate"
	"fmt"
	"testing"

	gobwas "github.com/gobwas/ws"

	"belfry/poller"
	"belfry/wire"
	"belfry/wire/plain"
	"belfry/wire/websocket"
)

// BenchmarkInboundDeflated measures a message of 4 KiB of JSON, compressed, from
// recv to the handler: one operation is one message, which is inflated, counted
// and dropped.
func BenchmarkInboundDeflated(b *testing.B) {
	const batch = 8 // in less than a chunk's time: a read that is put off is copied
	d, err := websocket.NewDeflate(websocket.DeflateOptions{})
	if err != nil {
		b.Fatal(err)
	}
	s, err := New(Options{
		Poller:        poller.Options{Shards: 1, Listen: []poller.Endpoint{{Host: "127.0.0.1"}}, ManualTicks: true},
		Authenticator: &Open{Unproven: true},
		Endpoints:     []wire.Endpoint{websocket.New(websocket.Options{Encodings: []websocket.Encoding{{Encoding: plain.Encoding{}}}, Deflate: d})},
	})
	if err != nil {
		b.Fatal(err)
	}
	if err := s.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.close() })
	c := rawClient(b, s, "/ws", "Sec-WebSocket-Extensions: permessage-deflate")
	burst := bytes.Repeat(deflatedMessage(b, 4<<10), batch)
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
	b.StopTimer()
	if got := d.Stats(); got.Inflated < uint64(b.N) || got.Received != got.Inflated*(4<<10) {
		b.Fatalf("%+v", got)
	}
}

// deflatedMessage returns a whole client frame with size bytes of JSON, compressed.
func deflatedMessage(b *testing.B, size int) []byte {
	var text, packed bytes.Buffer
	for i := 0; text.Len() < size; i++ {
		fmt.Fprintf(&text, `{"id":%d,"sku":"%08x","price":%d.%02d,"tags":["news","sport"]},`, i, uint32(i*i+1)*2654435761, i*37%900, i*13%100)
	}
	w, err := flate.NewWriter(&packed, 6)
	if err != nil {
		b.Fatal(err)
	}
	w.Write(text.Bytes()[:size])
	w.Flush()
	f := gobwas.NewTextFrame(bytes.TrimSuffix(packed.Bytes(), []byte{0, 0, 0xff, 0xff}))
	f.Header.Rsv = gobwas.Rsv(true, false, false)
	return gobwas.MustCompileFrame(gobwas.MaskFrameWith(f, [4]byte{1, 2, 3, 4}))
}
