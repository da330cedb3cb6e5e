package session

import (
	"context"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"belfry/message"
	"belfry/poller"
)

func TestTargets(t *testing.T) {
	r := newRig(t, Options{})
	a := r.dial("/ws?uid=a&topic=news")
	b := r.dial("/ws?uid=b&topic=news&topic=sport")
	b2 := r.dial("/ws?uid=b", "belfry.v1")
	hello := b2.object()
	if hello["type"] != "hello" || hello["uid"] != "b" {
		t.Fatalf("hello: %v", hello)
	}
	sid := hello["session"].(string)
	r.deliver(message.ToAll(), "all")
	r.deliver(message.ToTopics("news"), "news")
	r.deliver(message.ToTopics("sport", "news"), "both")
	// Order holds for one target; to different ones it is free.
	a.wantSet("all", "news", "both")
	b.wantSet("all", "news", "both")
	r.deliver(message.ToUsers("b"), "to b")
	b.want("to b")
	r.deliver(message.ToUsers("a", "b", "nobody", "a"), "to both")
	a.want("to both")
	b.want("to both")
	r.deliver(message.ToSessions(sid), "to one")
	for _, want := range []string{"all", "to b", "to both", "to one"} {
		if m := b2.object(); m["data"] != want || m["id"] != "m-"+want {
			t.Fatalf("got %v, want %q", m, want)
		}
	}
	if err := r.push(&message.Message{Target: message.Target{Exclude: sid}, Payload: []byte("not b2")}); err != nil {
		t.Fatal(err)
	}
	r.deliver(message.ToAll(), "end")
	a.want("not b2")
	b.want("not b2")
	if m := b2.object(); m["data"] != "end" {
		t.Fatalf("excluded session got %v", m)
	}
	info, ok := r.Lookup(sid)
	if !ok || info.UID != "b" || info.Encoding != "belfry.v1" || info.Remote.String() != b2.LocalAddr().String() {
		t.Errorf("look: %+v %v", info, ok)
	}
}

func TestCommands(t *testing.T) {
	r := newRig(t, Options{MaxTopics: 3})
	c := r.dial("/ws", "belfry.v1")
	c.object()
	c.say(`{"type":"sub","ref":1,"topics":["a","b"]}`)
	if m := c.object(); m["type"] != "ack" || m["ref"] != 1.0 {
		t.Fatalf("%v", m)
	}
	r.deliver(message.ToTopics("b"), "x")
	if m := c.object(); m["data"] != "x" || m["topic"] != "b" {
		t.Fatalf("%v", m)
	}
	c.say(`{"type":"sub","ref":"two","topics":["b","c","d"]}`)
	if m := c.object(); m["type"] != "err" || m["code"] != "too_many_topics" {
		t.Fatalf("%v", m)
	}
	c.say(`{"type":"unsub","ref":3,"topics":["a"]}`)
	if m := c.object(); m["type"] != "ack" {
		t.Fatalf("%v", m)
	}
	r.deliver(message.ToTopics("a"), "gone")
	r.deliver(message.ToTopics("c"), "never had")
	r.deliver(message.ToTopics("b"), "still")
	if m := c.object(); m["data"] != "still" {
		t.Fatalf("%v", m)
	}
	c.say(`{"type":"pub","ref":4,"to":{"topic":"b"},"data":"y"}`)
	if m := c.object(); m["type"] != "err" || m["code"] != "forbidden" {
		t.Fatalf("%v", m)
	}
	c.say(`nonsense`)
	if m := c.object(); m["type"] != "err" || m["code"] != "bad_request" {
		t.Fatalf("%v", m)
	}
}

func TestPub(t *testing.T) {
	var srv atomic.Pointer[Server]
	r := newRig(t, Options{Publish: func(m *message.Message, w message.Wait) error { m.ID = "given"; return srv.Load().pushWithin(m, w) }})
	srv.Store(r.Server)
	a, b := r.dial("/ws?topic=t", "belfry.v1"), r.dial("/ws?topic=t")
	a.object()
	a.say(`{"type":"pub","ref":1,"to":{"topic":"t"},"data":"hi"}`)
	b.want("hi")
	seen := map[any]bool{}
	for range 2 {
		m := a.object()
		seen[m["type"]] = true
		if m["id"] != "given" {
			t.Errorf("%v", m)
		}
	}
	if !seen["ack"] || !seen["msg"] {
		t.Errorf("seen %v", seen)
	}
}

func TestRefusedUpgrades(t *testing.T) {
	r := newRig(t, Options{})
	for path, want := range map[string]int{
		"/nowhere":                            404,
		"/ws?uid=":                            400,
		"/ws?topic=a..b":                      400,
		"/echo":                               404,
		"/ws?uid=" + strings.Repeat("x", 129): 400,
	} {
		if got := r.refusal(path, nil); got != want {
			t.Errorf("%s: %d, want %d", path, got, want)
		}
	}
	if got := r.refusal("/ws", http.Header{"Origin": {"http://evil.example"}}); got != 403 {
		t.Errorf("foreign origin: %d", got)
	}
	strict := newRig(t, Options{Authenticator: &Open{}})
	if got := strict.refusal("/ws?uid=u", nil); got != 401 {
		t.Errorf("unproven uid: %d", got)
	}
	if got := strict.refusal("/ws?topic=t", nil); got != 403 {
		t.Errorf("closed topic: %d", got)
	}
}

func TestSessionLimit(t *testing.T) {
	r := newRig(t, Options{MaxSessions: 2})
	a := r.dial("/ws")
	r.dial("/ws")
	conn, resp, err := websocket.DefaultDialer.Dial(r.url("/ws"), nil)
	if err == nil {
		conn.Close()
		t.Fatal("a third session was admitted")
	}
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") != "5" {
		t.Errorf("%v %v", resp.Status, resp.Header)
	}
	a.Close()
	eventually(t, "room again", func() bool { return r.refusal("/ws", nil) == 101 })
}

func TestUserLimit(t *testing.T) {
	r := newRig(t, Options{MaxPerUser: 2})
	a, b, c := r.dial("/ws?uid=u"), r.dial("/ws?uid=u"), r.dial("/ws?uid=u")
	a.wantClose(4006)
	r.deliver(message.ToUsers("u"), "x")
	b.want("x")
	c.want("x")
}

func TestHeartbeat(t *testing.T) {
	r := newRig(t, Options{Poller: poller.Options{Shards: 1}, PingInterval: 8 * time.Second, PongTimeout: 3 * time.Second})
	alive, dead := r.dial("/ws"), r.dial("/ws")
	pings := make(chan struct{}, 64)
	alive.SetPingHandler(func(string) error {
		pings <- struct{}{}
		return alive.WriteControl(websocket.PongMessage, nil, time.Now().Add(time.Second))
	})
	dead.SetPingHandler(func(string) error { return nil })
	go alive.ReadMessage()
	ended := make(chan error, 1)
	go func() { _, _, err := dead.ReadMessage(); ended <- err }()
	for i := range 8 {
		r.tick(1)
		_ = i
	}
	<-pings
	eventually(t, "pong", func() bool { return r.Stats().PongsIn == 1 })
	for range 3 {
		r.tick(1)
	}
	if err := <-ended; !websocket.IsCloseError(err, 4000) {
		t.Errorf("dead client saw %v", err)
	}
	if n := r.Stats().Closed["pong_timeout"]; n > 1 {
		t.Errorf("%d pong timeouts", n)
	}
	if n := r.sessions.Load(); n != 1 {
		t.Errorf("%d sessions left, want 1", n)
	}
}

func TestIdle(t *testing.T) {
	for name, o := range map[string]Options{
		"read":  {IdleRead: 3 * time.Second},
		"write": {IdleWrite: 3 * time.Second},
		"both":  {Idle: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, o)
			c := r.dial("/ws")
			for range 2 {
				r.tick(1)
			}
			if name != "read" { // a push restarts all but the time of reading
				r.deliver(message.ToAll(), "x")
				c.want("x")
				r.tick(1)
				r.tick(1)
				r.deliver(message.ToAll(), "y")
				c.want("y")
				r.tick(1)
				r.tick(1)
			}
			r.tick(1)
			c.wantClose(map[string]int{"read": 4001, "write": 4002, "both": 4003}[name])
		})
	}
}

func TestUpgradeTimeout(t *testing.T) {
	r := newRig(t, Options{UpgradeTime: 3 * time.Second})
	c, err := net.Dial("tcp", r.Addrs()[0].String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(clientTimeout))
	c.Write([]byte("GET /ws HTTP/1.1\r\n"))
	eventually(t, "accepted", func() bool { return r.pending.Load() == 1 })
	for range 4 {
		r.tick(1)
	}
	buf := make([]byte, 512)
	n, err := c.Read(buf)
	if err != nil || !strings.HasPrefix(string(buf[:n]), "HTTP/1.1 408") {
		t.Fatalf("%q %v", buf[:n], err)
	}
	eventually(t, "not pending", func() bool { return r.pending.Load() == 0 })
}

func TestClientCloses(t *testing.T) {
	r := newRig(t, Options{})
	c := r.dial("/ws?uid=u&topic=t")
	c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(3000, "done"), time.Now().Add(time.Second))
	c.wantClose(3000)
	c.Close()
	eventually(t, "gone", func() bool { return r.loop.Stats().Connections == 0 })
	if st := r.Stats(); st.Closed["client"] != 1 || st.Sessions != 0 {
		t.Errorf("%v, %d sessions", st.Closed, st.Sessions)
	}
}

func TestShutdown(t *testing.T) {
	r := newRig(t, Options{})
	var clients []*client
	for i := range 20 {
		if i%2 == 0 {
			clients = append(clients, r.dial("/ws"))
		} else {
			c := r.dial("/ws", "belfry.v1")
			c.object()
			clients = append(clients, c)
		}
	}
	done := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		done <- r.Shutdown(ctx, 1000, 10*time.Second)
	}()
	for i, c := range clients {
		if i%2 == 1 {
			if m := c.object(); m["type"] != "bye" || m["reconnect"] != true || m["after"].(float64) < 1 {
				t.Errorf("bye: %v", m)
			}
		}
		c.wantClose(1001)
		c.Close()
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Sessions end no faster than they are told to at shutdown.
func TestShutdownPace(t *testing.T) {
	r := newRig(t, Options{Poller: onePoller()})
	const sessions, pace = 6, 50
	for range sessions {
		c := r.dial("/ws")
		go func() {
			c.ReadMessage() // answers the close frame
			c.Close()
		}()
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	begun := time.Now()
	if err := r.Shutdown(ctx, pace, 0); err != nil || ctx.Err() != nil {
		t.Errorf("%v; the time given was over: %v", err, ctx.Err())
	}
	if took := time.Since(begun); took < (sessions-1)*time.Second/pace {
		t.Errorf("%d sessions ended within %v, allowed are %d a second", sessions, took, pace)
	}
	if n := r.Stats().Closed["shutdown"]; n != sessions {
		t.Errorf("%d sessions ended for the shutdown, want %d", n, sessions)
	}
}
