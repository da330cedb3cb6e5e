package session

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"belfry/ws"
)

func observed(level zapcore.Level) (*zap.Logger, *observer.ObservedLogs) {
	core, logs := observer.New(level)
	return zap.New(core), logs
}

// one waits for the only line with a message, takes all lines away and returns
// its fields.
func one(t *testing.T, logs *observer.ObservedLogs, msg string) map[string]any {
	t.Helper()
	eventually(t, msg, func() bool { return logs.FilterMessage(msg).Len() > 0 })
	lines := slices.DeleteFunc(logs.TakeAll(), func(l observer.LoggedEntry) bool { return l.Message != msg })
	if len(lines) != 1 {
		t.Fatalf("%d lines %q", len(lines), msg)
	}
	return lines[0].ContextMap()
}

func TestLineOfEndedSession(t *testing.T) {
	log, logs := observed(zap.DebugLevel)
	r := newRig(t, Options{Log: log})
	c := r.dial("/ws?uid=alice&topic=t", "belfry.v1")
	sid := c.object()["session"]
	address := c.LocalAddr().String()
	c.say(strings.Repeat("x", 500))
	c.object()
	c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(1000, ""), time.Now().Add(time.Second))
	f := one(t, logs, "connection ended")
	if f["reason"] != "client" || f["code"] != uint16(1000) || f["address"] != address || f["uid"] != "alice" || f["sid"] != sid {
		t.Errorf("%v", f)
	}
	if in, out := f["bytes_in"].(uint64), f["bytes_out"].(uint64); in < 500 || in > 2000 || out < 129 || out > 2000 {
		t.Errorf("%d bytes in, %d out", in, out)
	}
	if d, ok := f["duration"].(time.Duration); !ok || d < 0 || d > time.Minute {
		t.Errorf("duration %v", f["duration"])
	}
}

// A connection that a reset has ended still has its address in its line.
// A proxy tells an address without a port, and none is made up.
func TestLineBehindProxy(t *testing.T) {
	log, logs := observed(zap.DebugLevel)
	r := newRig(t, Options{Log: log, Proxy: ProxyOptions{Trusted: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}})
	c, _, err := websocket.DefaultDialer.DialContext(t.Context(), "ws://"+r.Addrs()[0].String()+"/ws", http.Header{"X-Forwarded-For": {"2001:db8::7"}})
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	if f := one(t, logs, "connection ended"); f["address"] != "2001:db8::7" {
		t.Errorf("%v", f)
	}
	for _, fields := range []http.Header{
		{"X-Forwarded-For": {"192.0.2.7"}, "Origin": {"https://evil.example"}},
		{"X-Forwarded-For": {"198.51.100.1", "192.0.2.7"}, "Origin": {"null"}},
	} {
		r.refusal("/ws", fields)
		if f := one(t, logs, "connection refused"); f["address"] != "192.0.2.7" {
			t.Errorf("%v: %v", fields, f)
		}
	}
}

func TestLineOfReset(t *testing.T) {
	log, logs := observed(zap.DebugLevel)
	r := newRig(t, Options{Log: log})
	w := r.mustWire("/ws?uid=bob", "")
	address := w.LocalAddr().String()
	w.SetLinger(0)
	w.Close()
	f := one(t, logs, "connection ended")
	if f["reason"] != "read_error" || f["address"] != address || f["uid"] != "bob" || !strings.Contains(f["error"].(string), "reset") {
		t.Errorf("%v", f)
	}
}

func TestLineOfRefusal(t *testing.T) {
	log, logs := observed(zap.DebugLevel)
	r := newRig(t, Options{Log: log, Poller: onePoller()})
	if status := r.refusal("/ws", http.Header{"Origin": {"https://evil.example"}}); status != 403 {
		t.Fatal(status)
	}
	f := one(t, logs, "connection refused")
	if f["status"] != int64(403) || f["cause"] != "origin" || f["origin"] != "https://evil.example" || f["address"] == nil || f["problem"] == "" {
		t.Errorf("%v", f)
	}
	// What has no Origin must not show that of the request before it, be that
	// refused or accepted.
	for _, say := range []string{"nonsense\r\n\r\n", "\x16\x03\x01\x00\x00"} {
		for _, before := range []string{"https://evil.example", "http://" + r.Addrs()[0].String()} {
			r.refusal("/ws", http.Header{"Origin": {before}})
			eventually(t, "gone", func() bool { return r.loop.Stats().Connections == 0 })
			logs.TakeAll()
			w, _ := r.connect()
			w.Write([]byte(say))
			if f := one(t, logs, "connection refused"); f["origin"] != nil || f["status"] != int64(400) {
				t.Errorf("%q after %s: %v", say, before, f)
			}
			w.Close()
		}
	}
	eventually(t, "gone", func() bool { return r.loop.Stats().Connections == 0 })
	if n := logs.FilterMessage("connection ended").Len(); n != 0 {
		t.Errorf("%d more lines about refused connections", n)
	}
}

// At info a storm of ends has so many lines a second, and the rest is told.
func TestLinesAreFew(t *testing.T) {
	log, logs := observed(zap.InfoLevel)
	r := newRig(t, Options{Log: log, Poller: onePoller()})
	for range 3 * connLines {
		r.mustWire("/ws", "").Close()
	}
	eventually(t, "all gone", func() bool { return r.Stats().Closed["gone"] == 3*connLines })
	if n := logs.FilterMessage("connection ended").Len(); n != connLines {
		t.Errorf("%d lines", n)
	}
	r.tick(1)
	f := one(t, logs, "further connections were refused or ended; their log lines were left out")
	if f["connections"] != uint64(2*connLines) {
		t.Errorf("%v", f)
	}
	r.mustWire("/ws", "").Close()
	eventually(t, "a line again", func() bool { return logs.FilterMessage("connection ended").Len() == 1 })
}

// A line that is not written costs nothing: no look at the kernel, no garbage.
func TestNoLineNoCost(t *testing.T) {
	log, _ := observed(zap.WarnLevel)
	r := newRig(t, Options{Log: log, Poller: onePoller()})
	w := r.mustWire("/ws?uid=u", "")
	defer w.Close()
	r.on(0, func(h *shard) {
		slot, _ := h.ps.Next(0)
		refusal := ws.Forbidden("no")
		if n := testing.AllocsPerRun(100, func() {
			h.log.ended(slot, h.rec(slot), nil)
			h.log.refused(slot, refusal)
		}); n != 0 {
			t.Errorf("%v allocations", n)
		}
	})
}
