package push

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"belfry/message"
)

// waitingPublisher reports that pushes waited, as the test sets it.
type waitingPublisher struct {
	recorder
	await func(ctx context.Context, m *message.Message, w message.Wait) (bool, error)
}

func (p *waitingPublisher) PublishWithin(ctx context.Context, m *message.Message, w message.Wait) (bool, error) {
	waited, err := p.await(ctx, m, w)
	if err == nil {
		err = p.publish(m)
	}
	return waited, err
}

// A push may wait for busy shards, and so may a line of a batch. Pushes that
// waited are counted.
func TestPushesMayWait(t *testing.T) {
	var asked []message.Target
	waited := false
	p := &waitingPublisher{await: func(ctx context.Context, m *message.Message, w message.Wait) (bool, error) {
		if w.Time != 7*time.Second || w.Others != 4 || ctx.Err() != nil {
			t.Errorf("may wait for %v beside %d others, %v", w.Time, w.Others, ctx.Err())
		}
		asked = append(asked, m.Target)
		return waited, nil
	}}
	s, ts, _ := start(t, Options{Publisher: p, Limits: Limits{PushWait: 7 * time.Second, MaxRequests: 9}})
	post(t, ts, "/v1/users/u1", "x")
	waited = true
	if a := post(t, ts, "/v1/users/u2", "x"); a.StatusCode != http.StatusAccepted {
		t.Errorf("%d", a.StatusCode)
	}
	post(t, ts, "/v1/batch", `{"to":{"user":"u3"},"text":"x"}`+"\n"+`{"to":{"topic":"t"},"text":"x"}`+"\n")
	if len(asked) != 4 || asked[2].Names[0] != "u3" || len(p.all()) != 4 {
		t.Errorf("asked for %v, published %d", asked, len(p.all()))
	}
	if n := s.Stats().Waited; n != 3 {
		t.Errorf("%d waited, want 3", n)
	}
}

// If too many pushes already wait, a push is refused at once and counted. It is not
// published.
func TestTooManyWait(t *testing.T) {
	p := &waitingPublisher{await: func(context.Context, *message.Message, message.Wait) (bool, error) {
		return false, &message.OverloadedError{What: "the queue is full", Queue: true, RetryAfter: time.Second}
	}}
	s, ts, _ := start(t, Options{Publisher: p})
	a := post(t, ts, "/v1/users/u1", "x")
	if p := a.problem(t); p.Type != CauseOverloaded.Type() || a.Header.Get("Retry-After") != "1" || p.Detail != "overloaded: the queue is full; nothing was delivered, so a retry causes no duplicates" {
		t.Errorf("%+v", p)
	}
	if st := s.Stats(); st.WaitRefused != 1 || st.Waited != 0 || len(p.all()) != 0 {
		t.Errorf("%d refused, %d waited, %d published", st.WaitRefused, st.Waited, len(p.all()))
	}
}

// Pushes refused because of full mailboxes or outboxes do not count as refused
// waits.
func TestFullIsNoQueue(t *testing.T) {
	p := &waitingPublisher{await: func(context.Context, *message.Message, message.Wait) (bool, error) {
		return true, &message.OverloadedError{What: "mailbox", RetryAfter: time.Second, Err: &message.OverloadedError{What: "a shard's mailbox is full"}}
	}}
	s, ts, _ := start(t, Options{Publisher: p})
	if a := post(t, ts, "/v1/users/u1", "x"); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("%d", a.StatusCode)
	}
	if st := s.Stats(); st.WaitRefused != 0 || st.Waited != 1 {
		t.Errorf("%d refused, %d waited", st.WaitRefused, st.Waited)
	}
}

// If a client goes away while its push waits, Wait.Gone reports it after the wait.
func TestGoneWhileWaiting(t *testing.T) {
	asks, answer := make(chan func() bool), make(chan error)
	p := &waitingPublisher{await: func(_ context.Context, _ *message.Message, w message.Wait) (bool, error) {
		asks <- w.Gone
		return true, <-answer
	}}
	s, _, _ := serve(t, Options{Publisher: p})
	c, err := net.Dial("tcp", s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, "POST /v1/users/u HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx")
	gone := <-asks
	if gone() {
		t.Error("gone before the client did anything")
	}
	c.Close()
	for begun := time.Now(); !gone(); {
		if time.Since(begun) > 10*time.Second {
			t.Fatal("the client is not gone")
		}
	}
	answer <- errors.New("not published")
}

// clientGone.gone reports that a client has gone away, and reads no bytes of it.
func TestPresence(t *testing.T) {
	for _, tt := range []struct {
		what string
		do   func(c *net.TCPConn)
		gone bool
	}{
		{"sends", func(c *net.TCPConn) { io.WriteString(c, "next") }, false},
		{"sends and closes", func(c *net.TCPConn) { io.WriteString(c, "next"); c.Close() }, false},
		{"closes", func(c *net.TCPConn) { c.Close() }, true},
		{"resets", func(c *net.TCPConn) { c.SetLinger(0); c.Close() }, true},
		{"closes its side", func(c *net.TCPConn) { c.CloseWrite() }, true},
	} {
		t.Run(tt.what, func(t *testing.T) {
			client, tcp := tcpPair(t)
			c := newConn(tcp, new(counters))
			if c.client.gone() {
				t.Error("gone before the client did anything")
			}
			tt.do(client)
			c.client.raw.Control(func(fd uintptr) { // waits until bytes have arrived
				unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 10_000)
			})
			if gone := c.client.gone(); gone != tt.gone {
				t.Errorf("gone: %v, want %v", gone, tt.gone)
			}
			tcp.SetReadDeadline(time.Now().Add(10 * time.Second))
			if p := make([]byte, 4); !tt.gone {
				if n, err := io.ReadFull(c, p); err != nil {
					t.Errorf("%q, %v is left of the bytes that the client sent", p[:n], err)
				}
			}
		})
	}
	_, tcp := tcpPair(t)
	c := newConn(tcp, new(counters))
	if tcp.Close(); !c.client.gone() {
		t.Error("a connection that was closed here is not gone")
	}
}

// tcpPair returns both ends of a connection.
func tcpPair(t *testing.T) (client, server *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); s.Close() })
	return c.(*net.TCPConn), s.(*net.TCPConn)
}

// While a handler runs and its request was read to the end, a read of one byte
// returns at once: net/http reads ahead. At other times such a read waits.
func TestNoReadAhead(t *testing.T) {
	client, tcp := tcpPair(t)
	c := newConn(tcp, new(counters))
	const head, body = "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n", "xy"
	read := func(n int, want string) {
		t.Helper()
		p := make([]byte, n)
		tcp.SetReadDeadline(time.Now().Add(10 * time.Second))
		if n, err := c.Read(p); err != nil || string(p[:n]) != want {
			t.Fatalf("%q, %v; want %q", p[:n], err, want)
		}
	}
	io.WriteString(client, head+body[:1])
	for i := range head {
		read(1, head[i:i+1])
	}
	c.served.Add(1)
	c.serving.Store(true)
	read(1, "x") // the body is not complete
	io.WriteString(client, body[1:]+"next")
	read(1, "y")
	tcp.SetReadDeadline(expired)
	if n, err := c.Read(make([]byte, 1)); n != 0 || err != nil {
		t.Errorf("read ahead: %d, %v", n, err)
	}
	c.serving.Store(false)
	read(1, "n") // the first byte of the next request
}
