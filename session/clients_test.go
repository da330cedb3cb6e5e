package session

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
	"belfry/poller"
	"belfry/ws"
)

// library is a WebSocket client that somebody else wrote. All of them offer
// permessage-deflate.
type library struct {
	name string
	dial func(url string, subprotocols []string) (libraryConn, *http.Response, error)
}

var libraries = []library{{"gorilla", dialGorilla}, {"coder", dialCoder}, {"gws", dialGWS}}

// libraryConn is a connection of a library.
type libraryConn interface {
	write(binary bool, p []byte) error
	ping() error // waits for the pong
	close(code int, reason string) error
	events() <-chan libraryEvent // the last is the end
}

// libraryEvent is a message or the end of a connection.
type libraryEvent struct {
	binary bool
	data   []byte
	end    error
	code   int // of the close frame that ended it, 0 if none did
}

// next waits for the next event.
func next(t *testing.T, c libraryConn) libraryEvent {
	t.Helper()
	select {
	case ev := <-c.events():
		return ev
	case <-time.After(time.Minute):
		t.Fatal("nothing comes")
		return libraryEvent{}
	}
}

// eachClient runs a test with each library and each encoding, with deflate and
// without.
func eachClient(t *testing.T, o Options, test func(t *testing.T, r *rig, c libraryConn, v1 bool)) {
	for _, lib := range libraries {
		for i := range 4 {
			v1, deflated := i&1 > 0, i&2 > 0
			t.Run(fmt.Sprintf("%s %s%s", lib.name, [...]string{"plain", "belfry.v1"}[i&1], [...]string{"", " deflate"}[i>>1]), func(t *testing.T) {
				o, extension := o, ""
				if deflated {
					o.Endpoints = withDeflate(t)
					extension = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
				}
				r := newRig(t, o)
				var ask []string
				if v1 {
					ask = []string{"other.v7", "belfry.v1"}
				}
				c, resp, err := lib.dial(r.url("/ws?uid=u&topic=t"), ask)
				if err != nil {
					t.Fatal(err)
				}
				if got, ext := resp.Header.Get("Sec-WebSocket-Protocol"), resp.Header.Get("Sec-WebSocket-Extensions"); got != subprotocol(v1) || ext != extension {
					t.Errorf("negotiated %q with extensions %q", got, ext)
				}
				if v1 {
					if ev := next(t, c); !bytes.Contains(ev.data, []byte(`"type":"hello"`)) {
						t.Fatalf("no hello: %+v", ev)
					}
				}
				test(t, r, c, v1)
			})
		}
	}
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// content returns the payload that a message event has in it.
func (ev libraryEvent) content(t *testing.T, v1 bool) (p []byte, binary bool) {
	t.Helper()
	if !v1 {
		return ev.data, ev.binary
	}
	var o struct {
		Data   string
		Binary bool
	}
	if err := json.Unmarshal(ev.data, &o); err != nil {
		t.Fatalf("%v: %.100q %v", err, ev.data, ev.end)
	}
	if !o.Binary {
		return []byte(o.Data), false
	}
	p, err := base64.StdEncoding.DecodeString(o.Data)
	if err != nil {
		t.Error(err)
	}
	return p, true
}

func TestClientsReceive(t *testing.T) {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	o := Options{Poller: poller.Options{Backlog: poller.Bounds{Bytes: 16 << 20}}}
	eachClient(t, o, func(t *testing.T, r *rig, c libraryConn, v1 bool) {
		for i, m := range []message.Message{
			{Payload: []byte("héllo \"world\" \u2028 \x00")},
			{Payload: nil},
			{Kind: message.Binary, Payload: all},
			{Payload: bytes.Repeat([]byte("x"), 125)},
			{Payload: bytes.Repeat([]byte("y"), 126)},
			{Payload: bytes.Repeat([]byte("é"), 1<<15)},
			{Kind: message.Binary, Payload: bytes.Repeat(all, 1<<12)}, // 1 MiB
			{Payload: bytes.Repeat([]byte("long "), 1<<18)},
		} {
			m.Target = [...]message.Target{message.ToAll(), message.ToTopics("t"), message.ToUsers("u")}[i%3]
			if err := r.push(&m); err != nil {
				t.Fatal(err)
			}
			got, binary := next(t, c).content(t, v1)
			if !bytes.Equal(got, m.Payload) || binary != (m.Kind == message.Binary) {
				t.Errorf("message %d: %d bytes %.40q, binary %v; want %d", i, len(got), got, binary, len(m.Payload))
			}
		}
		c.close(1000, "")
	})
}

func TestClientsSend(t *testing.T) {
	var published atomic.Pointer[message.Message]
	o := Options{Limits: ws.Limits{MaxMessage: 1 << 20}, Publish: func(m *message.Message, _ message.Wait) error { published.Store(m); return nil }}
	eachClient(t, o, func(t *testing.T, r *rig, c libraryConn, v1 bool) {
		large := strings.Repeat("0123456789abcdef", 40<<10) // 640 KiB
		if !v1 {
			c.write(false, []byte("héllo"))
			c.write(true, []byte{0, 255})
			c.write(false, []byte(large))
			eventually(t, "messages in", func() bool { return r.Stats().MessagesIn == 3 })
			if st := r.Stats(); st.Unwanted != 3 || st.BytesIn != uint64(len("héllo")+2+len(large)) {
				t.Errorf("%d unwanted, %d bytes", st.Unwanted, st.BytesIn)
			}
			c.close(1000, "")
			return
		}
		c.write(false, []byte(`{"type":"pub","ref":1,"to":{"topic":"t"},"data":"`+large+`"}`))
		if ev := next(t, c); string(ev.data) != `{"type":"ack","ref":1}` {
			t.Fatalf("%s %v", ev.data, ev.end)
		}
		if m := published.Load(); string(m.Payload) != large || m.Target.Names[0] != "t" {
			t.Errorf("published %d bytes to %v", len(m.Payload), m.Target)
		}
		c.write(true, []byte(`{"type":"ping"}`))
		if ev := next(t, c); !bytes.Contains(ev.data, []byte(`"err"`)) { // commands are text
			t.Errorf("%s %v", ev.data, ev.end)
		}
		c.close(1000, "")
	})
}

func TestClientsPing(t *testing.T) {
	eachClient(t, Options{PingInterval: 4 * time.Second, PongTimeout: 2 * time.Second}, func(t *testing.T, r *rig, c libraryConn, _ bool) {
		if err := c.ping(); err != nil {
			t.Errorf("no pong: %v", err)
		}
		// The client answers in its own time, while ours stands still: a tick
		// too many before its answer and it would be judged dead.
		for r.Stats().PongsIn < 3 {
			r.tick(1)
			eventually(t, "pong", func() bool { st := r.Stats(); return st.PongsIn == st.PingsOut })
		}
		if st := r.Stats(); st.PingsIn != 1 || st.Sessions != 1 {
			t.Errorf("%d pings, %d sessions", st.PingsIn, st.Sessions)
		}
		c.close(1000, "")
	})
}

func TestClientsClose(t *testing.T) {
	eachClient(t, Options{}, func(t *testing.T, r *rig, c libraryConn, _ bool) {
		if err := c.close(3456, "enough"); err != nil {
			t.Errorf("close: %v", err)
		}
		r.closedOnce(t, "client")
	})
}

func TestClientsAreClosed(t *testing.T) {
	eachClient(t, Options{}, func(t *testing.T, r *rig, c libraryConn, v1 bool) {
		home, _ := r.homeOf("u")
		r.on(home, func(h *shard) {
			slot, _ := h.ps.Next(0)
			h.end(slot, ReasonReplaced, "")
		})
		if v1 {
			if ev := next(t, c); !bytes.Contains(ev.data, []byte(`{"type":"bye","code":4006,"reason":"user_sessions","reconnect":false`)) {
				t.Errorf("bye: %s %v", ev.data, ev.end)
			}
		}
		if ev := next(t, c); ev.code != 4006 {
			t.Errorf("ended with code %d: %v", ev.code, ev.end)
		}
		r.closedOnce(t, "user_sessions")
	})
}

// An offer of compression is declined even when its parameters are odd, and a
// compressed frame is then a violation.
func TestCompressionDeclined(t *testing.T) {
	r := newRig(t, Options{})
	w, _ := r.connect()
	defer w.Close()
	head := strings.TrimSuffix(string(request("/ws", "")), "\r\n")
	w.Write([]byte(head + "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, permessage-deflate; server_max_window_bits=10\r\n\r\n"))
	if status, err := w.answer(); err != nil || status != 101 {
		t.Fatal(status, err)
	}
	f := masked(gobwas.OpText, true, []byte("x"))
	f[0] |= 0x40 // RSV1: compressed
	w.Write(f)
	if _, code, _, err := w.end(); err != nil || code != 1002 {
		t.Errorf("%d %v", code, err)
	}
}
