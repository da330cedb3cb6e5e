package session

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"syscall"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/ws"
)

func closePayload(code uint16, reason string) []byte {
	return append(binary.BigEndian.AppendUint16(nil, code), reason...)
}

// closedOnce looks that exactly one connection has ended, for that reason.
func (r *rig) closedOnce(t *testing.T, reason string) {
	t.Helper()
	eventually(t, "connection over", func() bool { return r.loop.Stats().Connections == 0 })
	for label, n := range r.Stats().Closed {
		if want := label == reason; (n == 1) != want || n > 1 {
			t.Errorf("closed for %s: %d, and the reason was %s", label, n, reason)
		}
	}
}

// The client closes: the server gives back its code and ends the connection.
func TestCloseByClient(t *testing.T) {
	for name, c := range map[string]struct {
		payload []byte
		code    uint16
	}{
		"normal":           {closePayload(1000, "bye"), 1000},
		"going away":       {closePayload(1001, ""), 1001},
		"no code":          {nil, ws.CloseNoStatus},
		"registered later": {closePayload(1014, ""), 1014},
		"library":          {closePayload(3000, "é"), 3000},
		"private":          {closePayload(4999, strings.Repeat("x", 123)), 4999},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{})
			w := r.mustWire("/ws?uid=u&topic=t", "")
			frame := masked(gobwas.OpClose, true, c.payload)
			for i := range frame { // however it comes
				w.Write(frame[i : i+1])
			}
			w.send(gobwas.OpText, []byte("ignored, as all behind a close frame"))
			texts, code, reason, err := w.end()
			if err != nil || code != c.code || reason != "" || len(texts) > 0 {
				t.Errorf("%d %q %q %v", code, reason, texts, err)
			}
			w.ended(t)
			w.Close()
			r.closedOnce(t, "client")
			if st := r.Stats(); st.Sessions != 0 || st.MessagesIn != 0 {
				t.Errorf("%d sessions, %d messages", st.Sessions, st.MessagesIn)
			}
		})
	}
}

// The server closes: the client answers, in one of several ways, or does not.
func TestCloseByServer(t *testing.T) {
	for name, answer := range map[string]func(r *rig, w *rawConn){
		"same code":  func(_ *rig, w *rawConn) { w.send(gobwas.OpClose, closePayload(4003, "")) },
		"other code": func(_ *rig, w *rawConn) { w.send(gobwas.OpClose, closePayload(1000, "I was going anyway")) },
		"no code":    func(_ *rig, w *rawConn) { w.send(gobwas.OpClose, nil) },
		"after data": func(_ *rig, w *rawConn) {
			w.send(gobwas.OpText, []byte("sent before yours came"))
			w.send(gobwas.OpPing, []byte("x"))
			w.send(gobwas.OpClose, closePayload(4003, ""))
		},
		"violation": func(_ *rig, w *rawConn) { w.Write([]byte{0xff, 0xff}) },
		"none":      func(r *rig, _ *rawConn) { r.tick(1); r.tick(1) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{Idle: 2 * time.Second, CloseTime: 2 * time.Second})
			w := r.mustWire("/ws", "")
			r.tick(1)
			r.tick(1)
			_, code, reason, err := w.end()
			if err != nil || code != 4003 || reason != "idle for too long" {
				t.Fatalf("%d %q %v", code, reason, err)
			}
			answer(r, w)
			w.ended(t)
			w.Close()
			r.closedOnce(t, "idle")
		})
	}
}

// Before its deadline an unanswered close frame ends nothing.
func TestCloseDeadline(t *testing.T) {
	r := newRig(t, Options{Idle: 2 * time.Second, CloseTime: 4 * time.Second})
	w := r.mustWire("/ws", "")
	r.tick(1)
	r.tick(1)
	if _, code, _, err := w.end(); err != nil || code != 4003 {
		t.Fatal(code, err)
	}
	for range 3 {
		r.tick(1)
	}
	if n := r.loop.Stats().Connections; n != 1 {
		t.Fatalf("%d connections before the deadline", n)
	}
	r.tick(1)
	r.closedOnce(t, "idle")
	w.ended(t)
}

// violations are what a client may not send, and what it is told.
var violations = map[string]struct {
	send   []byte
	code   uint16
	reason string
}{
	"not masked":             {gobwas.MustCompileFrame(gobwas.NewTextFrame([]byte("x"))), 1002, "protocol"},
	"RSV1":                   {[]byte{0xc1, 0x80, 0, 0, 0, 0}, 1002, "protocol"},
	"reserved opcode":        {[]byte{0x83, 0x80, 0, 0, 0, 0}, 1002, "protocol"},
	"reserved control":       {[]byte{0x8b, 0x80, 0, 0, 0, 0}, 1002, "protocol"},
	"continuation first":     {masked(gobwas.OpContinuation, true, []byte("x")), 1002, "protocol"},
	"text within text":       {append(masked(gobwas.OpText, false, []byte("x")), masked(gobwas.OpText, true, []byte("y"))...), 1002, "protocol"},
	"ping in two":            {masked(gobwas.OpPing, false, nil), 1002, "protocol"},
	"ping of 126":            {masked(gobwas.OpPing, true, make([]byte, 126)), 1002, "protocol"},
	"length not minimal":     {[]byte{0x81, 0xfe, 0, 5, 0, 0, 0, 0}, 1002, "protocol"},
	"length of 64 bits":      {[]byte{0x81, 0xff, 0, 0, 0, 0, 0, 0, 0x12, 0x34, 0, 0, 0, 0}, 1002, "protocol"},
	"length negative":        {[]byte{0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 1002, "protocol"},
	"close of one byte":      {masked(gobwas.OpClose, true, []byte{3}), 1002, "protocol"},
	"close 1005":             {masked(gobwas.OpClose, true, closePayload(1005, "")), 1002, "protocol"},
	"close 999":              {masked(gobwas.OpClose, true, closePayload(999, "")), 1002, "protocol"},
	"close 1015":             {masked(gobwas.OpClose, true, closePayload(1015, "")), 1002, "protocol"},
	"close 2999":             {masked(gobwas.OpClose, true, closePayload(2999, "")), 1002, "protocol"},
	"close with bad reason":  {masked(gobwas.OpClose, true, closePayload(1000, "\xff")), 1007, "utf8"},
	"text not UTF-8":         {masked(gobwas.OpText, true, []byte("ab\xffcd")), 1007, "utf8"},
	"text with a surrogate":  {masked(gobwas.OpText, true, []byte("\xed\xa0\x80")), 1007, "utf8"},
	"text ends in character": {masked(gobwas.OpText, true, []byte("\xe2\x82")), 1007, "utf8"},
	"bad byte, frame open":   {masked(gobwas.OpText, true, append([]byte("\xff"), make([]byte, 400)...))[:20], 1007, "utf8"},
	"bad byte, 2nd fragment": {append(masked(gobwas.OpText, false, []byte("\xe2")), masked(gobwas.OpContinuation, false, []byte("x"))...), 1007, "utf8"},
	"too big":                {masked(gobwas.OpBinary, true, make([]byte, 513)), 1009, "too_big"},
	"too big announced":      {[]byte{0x82, 0xff, 0, 0, 1, 0, 0, 0, 0, 0, 1, 2, 3, 4}, 1009, "too_big"},
	"too big in pieces":      {append(masked(gobwas.OpBinary, false, make([]byte, 500)), masked(gobwas.OpContinuation, true, make([]byte, 13))...), 1009, "too_big"},
	"too many fragments":     {append(bytes.Clone(masked(gobwas.OpText, false, nil)), bytes.Repeat(masked(gobwas.OpContinuation, false, nil), 8)...), 1009, "fragments"},
	"data, none wanted":      {masked(gobwas.OpText, true, []byte("hello")), 1008, "policy"},
}

// Every violation gets its close code. The client finds the close frame even
// if it was still sending, for the server reads on instead of having the
// kernel reset the connection.
func TestViolations(t *testing.T) {
	for name, v := range violations {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, Options{Poller: onePoller(), RefuseClient: true, Limits: ws.Limits{MaxMessage: 512, MaxFragments: 8}})
			w := r.mustWire("/ws?uid=u&topic=t", "")
			w.Write(v.send)
			read := r.loop.Stats().ReadBytes
			if v.code != 1008 { // after which frames are still understood
				w.Write(bytes.Repeat([]byte("still sending "), 8<<10))
				eventually(t, "all read", func() bool { return r.loop.Stats().ReadBytes >= read+8<<10*14 })
			}
			texts, code, _, err := w.end()
			if err != nil || code != v.code || len(texts) > 0 {
				t.Fatalf("code %d, want %d: %q %v", code, v.code, texts, err)
			}
			if v.code == 1008 {
				w.send(gobwas.OpClose, closePayload(1008, ""))
			}
			w.ended(t)
			for range halfCloseTime { // the client stays; the server does not
				r.tick(1)
			}
			r.closedOnce(t, v.reason)
			limits := r.Stats().Limits
			for name, reason := range map[string]string{"session.max_message": "too_big", "session.max_fragments": "fragments"} {
				if hit := limits[name] == 1; hit != (v.reason == reason) {
					t.Errorf("limit %s: %d", name, limits[name])
				}
			}
		})
	}
}

// A client that goes on sending after our close frame is not decoded for long,
// whatever its rates are: it is shut down for writing, and the rest discarded.
func TestClosingIsBounded(t *testing.T) {
	const closing = 5 << 10 // not the default
	for name, frames := range map[string][]byte{
		"bytes":  masked(gobwas.OpText, true, make([]byte, closing)),
		"frames": bytes.Repeat(masked(gobwas.OpText, true, nil), closing/6+1),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, Options{Poller: onePoller(), RefuseClient: true, NodeLimits: NodeLimits{ClosingBytes: closing}})
			w := r.mustWire("/ws", "")
			w.send(gobwas.OpText, []byte("not wanted"))
			if _, code, _, err := w.end(); code != 1008 {
				t.Fatalf("code %d, %v", code, err)
			}
			w.Write(frames)
			w.ended(t)
			r.ticks(halfCloseTime)
			r.closedOnce(t, "policy")
			if n := r.Stats().Limits["session.closing_bytes"]; n != 1 {
				t.Errorf("the limit was reached %d times", n)
			}
		})
	}
}

// What a half-closed connection sends is read up to a limit. Beyond it the client
// has to wait for the end, which comes as soon as without.
func TestHalfClosedIsBounded(t *testing.T) {
	const discarded = 100 << 10 // not the default
	violation := []byte{0xff, 0xff}
	begin := func(t *testing.T) (r *rig, w *rawConn, read uint64) {
		r = newRig(t, Options{Poller: onePoller(), NodeLimits: NodeLimits{HalfClosedBytes: discarded}})
		w = r.mustWire("/ws?uid=u", "")
		var before uint64 // bytes are counted at the end of a turn, after the answer is sent
		eventually(t, "the request is counted", func() bool { before = r.loop.Stats().ReadBytes; return before > 0 })
		w.Write(violation)
		if _, code, _, err := w.end(); code != 1002 {
			t.Fatalf("code %d, %v", code, err)
		}
		return r, w, before + uint64(len(violation))
	}
	t.Run("at the limit", func(t *testing.T) {
		r, w, read := begin(t)
		w.Write(make([]byte, discarded))
		eventually(t, "all read", func() bool { return r.loop.Stats().ReadBytes == read+discarded })
		w.ended(t)
		r.ticks(halfCloseTime)
		r.closedOnce(t, "protocol")
		if n := r.Stats().Limits["session.half_closed_bytes"]; n != 0 {
			t.Errorf("the limit was reached %d times", n)
		}
	})
	t.Run("beyond", func(t *testing.T) {
		r, w, read := begin(t)
		over := make(chan error)
		go func() {
			for {
				if _, err := w.Write(make([]byte, 64<<10)); err != nil {
					over <- err
					return
				}
			}
		}()
		eventually(t, "the limit", func() bool { return r.Stats().Limits["session.half_closed_bytes"] > 0 })
		r.on(0, func(h *shard) {
			if slot, _ := h.ps.Next(0); !h.ps.Paused(slot) {
				t.Error("it is still read")
			}
		})
		r.ticks(halfCloseTime)
		r.closedOnce(t, "protocol")
		if err := <-over; !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
			t.Error(err)
		}
		n, most := r.loop.Stats().ReadBytes-read, uint64(discarded+64<<10) // 64 KiB: one read
		if limit := r.Stats().Limits["session.half_closed_bytes"]; n <= discarded || n > most || limit != 1 {
			t.Errorf("%d bytes were read; want %d to %d; the limit was reached %d times", n, discarded, most, limit)
		}
	})
}

// Connections that end without a close frame are told apart.
func TestCloseWithoutFrame(t *testing.T) {
	for reason, leave := range map[string]func(w *rawConn){
		"gone":       func(w *rawConn) { w.CloseWrite() },
		"read_error": func(w *rawConn) { w.SetLinger(0); w.Close() },
	} {
		r := newRig(t, Options{})
		w := r.mustWire("/ws?uid=u&topic=t", "")
		leave(w)
		r.closedOnce(t, reason)
		w.Close()
	}
}
