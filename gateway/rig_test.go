package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"belfry/message"
	"belfry/session"
	"belfry/webhook"
	"belfry/wire"
)

// node records what the gateway does to sessions, by session id in order.
type node struct {
	mu   sync.Mutex
	done map[string][]string
	gone map[string]bool // sessions that have ended
	fail map[string]bool // methods that return an error

	panics string // the method that panics
}

func newNode() *node {
	return &node{done: map[string][]string{}, gone: map[string]bool{}, fail: map[string]bool{}}
}

func (n *node) add(sid, what string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.done[sid] = append(n.done[sid], what)
}

func (n *node) of(sid string) []string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.Clone(n.done[sid])
}

var errFull = errors.New("full")

func (n *node) do(method, sid, what string) error {
	n.mu.Lock()
	full, gone, panics := n.fail[method], n.gone[sid], n.panics == method
	n.mu.Unlock()
	switch {
	case panics:
		panic("injected in " + method)
	case gone:
		return session.ErrNoSession
	case full:
		return errFull
	}
	n.add(sid, what)
	return nil
}

func (n *node) Resume(sid string) error { return n.do("resume", sid, "resume") }

func (n *node) Reply(sid string, r *wire.Reply) error {
	what := "ack " + r.Ref
	switch {
	case r.Err != nil:
		what = fmt.Sprintf("err %s %s: %s", r.Ref, r.Err.Code, r.Err.Text)
	case r.Data != nil:
		what += fmt.Sprintf(" %v %s", r.Kind, r.Data)
		if r.JSON {
			what += " (JSON)"
		}
	}
	method := "reply"
	if r.Data == nil {
		method = "short reply"
	}
	return n.do(method, sid, what)
}

func (n *node) SendTo(sid string, m *message.Message) error {
	check := *m
	check.Target = message.ToAll() // the ids of these tests are short
	if err := check.Check(1 << 20); err != nil {
		return err
	}
	return n.do("send", sid, fmt.Sprintf("%v %s", m.Kind, m.Payload))
}

func (n *node) Subscribe(sid string, topics []string) error {
	return n.do("subscribe", sid, fmt.Sprint("subscribe ", topics))
}

func (n *node) Unsubscribe(sid string, topics []string) error {
	return n.do("unsubscribe", sid, fmt.Sprint("unsubscribe ", topics))
}

func (n *node) SetMeta(sid string, meta []byte) error { return n.do("meta", sid, "meta "+string(meta)) }

func (n *node) Close(sid string, code uint16, reason string) error {
	return n.do("close", sid, fmt.Sprint("close ", code, " ", reason))
}

// Publish implements Publisher.
func (n *node) Publish(m *message.Message) error {
	if err := m.Check(1 << 20); err != nil {
		return err
	}
	return n.do("publish", "bus", fmt.Sprintf("%v%v %v %s", m.Target.Scope, m.Target.Names, m.Kind, m.Payload))
}

// backend answers calls with a function, and records them.
type backend struct {
	answer func(c *webhook.Call) (*webhook.Answer, error)

	mu       sync.Mutex
	calls    []*webhook.Call
	inFlight int
	most     int            // of inFlight
	sessions map[string]int // calls in flight of each session
	twice    bool           // two calls of a session were in flight
}

func (b *backend) Call(ctx context.Context, c *webhook.Call) (*webhook.Answer, error) {
	sid := c.Extensions[0].Value
	b.mu.Lock()
	b.calls = append(b.calls, c)
	b.inFlight++
	b.most = max(b.most, b.inFlight)
	if b.sessions == nil {
		b.sessions = map[string]int{}
	}
	b.sessions[sid]++
	b.twice = b.twice || b.sessions[sid] > 1
	b.mu.Unlock()
	defer func() {
		b.mu.Lock()
		b.inFlight--
		b.sessions[sid]--
		b.mu.Unlock()
	}()
	if b.answer == nil {
		return &webhook.Answer{Status: 204}, nil
	}
	type outcome struct {
		a   *webhook.Answer
		err error
	}
	done := make(chan outcome, 1)
	go func() {
		a, err := b.answer(c)
		done <- outcome{a, err}
	}()
	select {
	case o := <-done:
		return o.a, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (b *backend) Stats() webhook.Stats { return webhook.Stats{} }

func (b *backend) Close()       {}
func (b *backend) Refuse() bool { return false }

func (b *backend) got() []*webhook.Call {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

func ok(contentType, body string) (*webhook.Answer, error) {
	return &webhook.Answer{Status: 200, Header: http.Header{"Content-Type": {contentType}}, Body: []byte(body)}, nil
}

func status(code int, contentType, body string) (*webhook.Answer, error) {
	a, _ := ok(contentType, body)
	a.Status = code
	return nil, &webhook.StatusError{Answer: a}
}

// start returns a running gateway. Without a change, each route takes messages.
func start(t *testing.T, n *node, o Options) *Gateway {
	t.Helper()
	o.Node, o.NodeID, o.Publisher = "a", 7, n
	for i := range o.Routes {
		if o.Routes[i].Name == "" {
			o.Routes[i].Name = fmt.Sprint("r", i)
		}
		if o.Routes[i].Events == nil {
			o.Routes[i].Events = []Kind{Message}
		}
	}
	g, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	g.Start(n)
	return g
}

// stop shuts g down at once.
func stop(g *Gateway) int {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return g.Shutdown(ctx)
}

// client returns a session whose routes are those of all that match any path.
func client(g *Gateway, sid string) *session.Client {
	return &session.Client{
		SID: sid, UID: "u-" + sid, Encoding: "belfry.v1", Addr: netip.MustParseAddrPort("192.0.2.1:4711"),
		Route: g.sets.of(origin{path: "/ws"}).number,
	}
}

func text(payload string) *session.Inbound { return &session.Inbound{Payload: []byte(payload)} }

func rpc(ref, payload string) *session.Inbound {
	return &session.Inbound{RPC: true, Answered: true, Ref: ref, Payload: []byte(payload)}
}

// slow is the time that the backend of some tests takes to answer.
const slow = time.Second
