package session

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/message"
	"belfry/ws"
)

// repeated is the same frame n times.
func repeated(n int, op gobwas.OpCode, payload string) []byte {
	return bytes.Repeat(masked(op, true, []byte(payload)), n)
}

// acks reads up to a frame that holds the text, and returns how many acks came
// before it.
func (w *rawConn) acks(t *testing.T, text string) (n int) {
	t.Helper()
	for {
		_, p, err := w.frame()
		switch {
		case err != nil:
			t.Fatalf("%v after %d acks, before %q", err, n, text)
		case strings.Contains(string(p), text):
			return n
		case strings.Contains(string(p), `"ack"`):
			n++
		}
	}
}

// A session that sends more than its rates allow is told once, served at its
// rate from then on, and closed when it goes on for longer than the grace.
func TestRates(t *testing.T) {
	ping := `{"type":"ping"}`
	for _, c := range []struct {
		limit string
		rates Rates
		flood []byte
		first int // acks before it is told
		each  int // and in each second after that
	}{
		{"session.message_rate", Rates{Messages: 5, MessageBurst: 20}, repeated(1000, gobwas.OpText, ping), 20, 5},
		{"session.command_rate", Rates{Commands: 5, CommandBurst: 20}, repeated(1000, gobwas.OpText, ping), 20, 5},
		{"session.command_rate", Rates{Commands: 2, CommandBurst: 20},
			repeated(1000, gobwas.OpText, `{"type":"unsub","topics":["a","b","c","d"]}`), 5, 0},
	} {
		c.rates.Grace = 3 * time.Second
		r := newRig(t, Options{Poller: onePoller(), Rates: c.rates, MaxTopics: 16})
		w := r.v1("/ws")
		w.Write(c.flood)
		if n := w.acks(t, `"code":"rate_limited"`); n != c.first {
			t.Errorf("%s: told after %d acks, want %d", c.limit, n, c.first)
		}
		r.tick(1)
		for range c.each {
			w.expect(t, `"ack"`)
		}
		r.tick(1)
		for range c.each {
			w.expect(t, `"ack"`)
		}
		for i := 0; i < 4 && r.Stats().Closed["rate_limit"] == 0; i++ {
			r.tick(1)
		}
		texts, code, reason, err := w.end()
		if err != nil || code != 1008 || !strings.Contains(reason, "a second") {
			t.Errorf("%s: closed with %d %q, %v", c.limit, code, reason, err)
		}
		if told := strings.Count(strings.Join(texts, ""), "rate_limited"); told != 0 {
			t.Errorf("%s: told %d more times", c.limit, told)
		}
		if n := r.Stats().Limits[c.limit]; n < 3 {
			t.Errorf("%s counted %d times", c.limit, n)
		}
	}
}

// Each name that a pub is for is a message on the bus, and costs as much as a
// topic of a sub.
func TestPubCostsItsNames(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), MaxTopics: 16, Rates: Rates{Commands: 1, CommandBurst: 20, Grace: 3 * time.Second}})
	w := r.v1("/ws")
	w.Write(repeated(100, gobwas.OpText, `{"type":"pub","to":{"users":["a","b","c","d"]},"data":""}`))
	for answers := 0; ; answers++ {
		_, p, err := w.frame()
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(p), "rate_limited") {
			if answers != 5 {
				t.Errorf("told after %d pubs to 4 users, want 5 for 20 tokens", answers)
			}
			return
		}
	}
}

// Bytes are counted as they arrive, also the bytes of a message that does not end;
// reading goes on when there are tokens again, and nothing is lost.
func TestByteRate(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), Rates: Rates{Bytes: 8 << 10, ByteBurst: 32 << 10, Grace: time.Minute},
		Limits: ws.Limits{MaxMessage: 16 << 10}})
	w := r.mustWire("/ws", "")
	const count, size = 20, 10000
	w.Write(repeated(count, gobwas.OpBinary, strings.Repeat("x", size)))
	for sent, n := uint64(0), 0; sent < count; n++ {
		sent = r.Stats().MessagesIn
		if most := uint64(32<<10+n*8<<10)/size + 3; sent > most {
			t.Fatalf("%d messages after %d s, at most %d may", sent, n, most)
		}
		if n > 100 {
			t.Fatalf("%d messages only after %d s", sent, n)
		}
		r.tick(1)
	}
	if n := r.Stats().Limits["session.byte_rate"]; n == 0 {
		t.Error("the limit was not counted")
	}
	r.deliver(message.ToAll(), "still here")
	if _, p, err := w.frame(); err != nil || string(p) != "still here" {
		t.Errorf("%q, %v", p, err)
	}
}

// What honest clients do meets no limit at the defaults: a page whose
// components each subscribe, and one that answers pings for a day.
func TestHonestClientsMeetNoRate(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), PingInterval: 25 * time.Second, PongTimeout: 10 * time.Second,
		Rates: Rates{Messages: 200, MessageBurst: 1000, Bytes: 512 << 10, ByteBurst: 4 << 20, Commands: 50, CommandBurst: 500, Grace: 10 * time.Second}})
	w := r.v1("/ws")
	for i := range 128 {
		w.command(`{"type":"sub","ref":%d,"topic":"component.%d"}`, i, i)
	}
	for i := range 128 {
		w.expect(t, fmt.Sprintf(`{"type":"ack","ref":%d}`, i))
	}
	for range 20 {
		for sent := r.Stats().PingsOut; r.Stats().PingsOut == sent; {
			r.tick(1)
		}
		op, p, err := w.frame()
		if err != nil || op != gobwas.OpPing {
			t.Fatal(op, err)
		}
		pongs := r.Stats().PongsIn
		w.send(gobwas.OpPong, p)
		eventually(t, "pong", func() bool { return r.Stats().PongsIn > pongs })
	}
	r.on(0, func(h *shard) {
		if n := h.buckets.all.Len(); n != 0 {
			t.Errorf("%d token buckets kept for a session that only answers pings", n)
		}
	})
	if st := r.Stats(); st.Limits["session.command_rate"]+st.Limits["session.message_rate"] > 0 || st.Sessions != 1 {
		t.Errorf("limits %v, %d sessions", st.Limits, st.Sessions)
	}
}

// A session has token buckets only while they are not full.
func TestBucketsAreGivenBack(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), Rates: Rates{Messages: 10, MessageBurst: 20, Grace: time.Second}})
	var all []*rawConn
	for i := range 50 {
		w := r.v1("/ws")
		w.command(`{"type":"ping","ref":%d}`, i)
		w.expect(t, "ack")
		all = append(all, w)
	}
	count := func() (n int) {
		r.on(0, func(h *shard) { n = h.buckets.all.Len() })
		return n
	}
	if n := count(); n != 50 {
		t.Errorf("%d buckets of 50 sessions that sent", n)
	}
	all[0].Close()
	eventually(t, "closed", func() bool { return r.Stats().Sessions == 49 })
	if n := count(); n != 49 {
		t.Errorf("%d buckets of 49 sessions", n)
	}
	for range 5 {
		r.tick(1)
	}
	if n := count(); n != 0 {
		t.Errorf("%d buckets of sessions that have all tokens", n)
	}
}

// A session that is not read because of its rate is not closed for a pong that could
// not be read.
func TestSlowedSessionIsNotClosed(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller(), PingInterval: 2 * time.Second, PongTimeout: time.Second, IdleRead: 3 * time.Second,
		Rates: Rates{Commands: 1, CommandBurst: 1, Grace: time.Minute}, MaxTopics: 20})
	w := r.v1("/ws")
	topics := `"a"` + strings.Repeat(`,"a"`, 39)
	w.command(`{"type":"unsub","ref":1,"topics":[%s]}`, topics) // 20 tokens of debt: 21 s
	w.expect(t, "ack")
	w.command(`{"type":"ping","ref":2}`)
	w.expect(t, "rate_limited")
	for range 15 {
		r.tick(1)
	}
	if n := r.Stats().Sessions; n != 1 {
		t.Fatalf("closed: %v", r.Stats().Closed)
	}
	for range 10 {
		r.tick(1)
		w.send(gobwas.OpPong, nil)
	}
	w.expect(t, `"ref":2`)
}
