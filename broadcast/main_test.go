package broadcast

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"belfry/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(settled{m}) }

// On a busy machine, goroutines that are about to end take longer than goleak
// waits by default.
type settled struct{ *testing.M }

func (s settled) Run() int {
	code := s.M.Run()
	for begun := time.Now(); goleak.Find() != nil && time.Since(begun) < 10*time.Second; {
	}
	return code
}

// eventually polls a condition that depends on other goroutines or on NATS.
func eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !cond(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

// recorder is a Local that keeps the messages it gets.
type recorder struct {
	mu   sync.Mutex
	got  []*message.Message
	full error // if not nil, Deliver returns it and takes no message

	await func(context.Context, message.Wait) (bool, error) // nil: never waits
	try   int                                               // calls of Deliver, refused ones included
}

func (r *recorder) Prepare(m *message.Message) (Prepared, error) {
	return recorded{r, m}, nil
}

// recorded is a message for a recorder.
type recorded struct {
	r *recorder
	m *message.Message
}

func (p recorded) Await(ctx context.Context, w message.Wait) (bool, error) {
	if p.r.await == nil {
		return false, nil
	}
	return p.r.await(ctx, w)
}

func (p recorded) Leave() {}

func (p recorded) Deliver() error {
	r := p.r
	r.mu.Lock()
	defer r.mu.Unlock()
	r.try++
	if r.full != nil {
		return r.full
	}
	r.got = append(r.got, p.m)
	return nil
}

func (r *recorder) setFull(err error) {
	r.mu.Lock()
	r.full = err
	r.mu.Unlock()
}

func (r *recorder) tries() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.try
}

func (r *recorder) messages() []*message.Message {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// payloads returns the payloads for targets that contain name, "" for the target
// all.
func (r *recorder) payloads(name string) (out []string) {
	for _, m := range r.messages() {
		if name == "" && m.Target.Scope == message.ScopeAll || slices.Contains(m.Target.Names, name) {
			out = append(out, string(m.Payload))
		}
	}
	return out
}

// shard is a Waiter that keeps the tokens of its notices.
type shard struct {
	mu     sync.Mutex
	tokens []uint64
	refuse int // calls that still find the mailbox full
}

func (s *shard) UserReady(token uint64) bool  { return s.ready(token) }
func (s *shard) TopicReady(token uint64) bool { return s.ready(token) }

func (s *shard) ready(token uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuse > 0 {
		s.refuse--
		return false
	}
	s.tokens = append(s.tokens, token)
	return true
}

func (s *shard) count(token uint64) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, have := range s.tokens {
		if have == token {
			n++
		}
	}
	return n
}

// waiterCount is a Waiter that only counts.
type waiterCount struct{ n atomic.Int64 }

func (c *waiterCount) UserReady(uint64) bool  { c.n.Add(1); return true }
func (c *waiterCount) TopicReady(uint64) bool { c.n.Add(1); return true }

// member is a Node under test with its sessions.
type member struct {
	*Node
	*recorder
	shard *shard
}

func open(t testing.TB, o Options) *member {
	t.Helper()
	o.NodeOf = nodeOf
	n, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.Close() })
	m := &member{n, new(recorder), new(shard)}
	n.Start(m.recorder)
	if n.nats.nc.IsConnected() {
		eventually(t, "fixed subscriptions", func() bool { return n.nats.interest.begun.Load() != 0 })
	}
	return m
}

// away reports whether the node has lost NATS, whole whether it is ready and not
// degraded.
func (m *member) away() bool  { return m.Ready() != nil || len(m.Degraded()) > 0 }
func (m *member) whole() bool { return !m.away() }

// lost reports whether the node has noticed that its connection broke. A node
// that has just been opened is away too, but its connection is there.
func (m *member) lost() bool { return m.away() && !m.Stats().Connected }

// topic and user add a subscriber or a session and wait until it is ready.
func (m *member) topic(t *testing.T, name string) {
	t.Helper()
	token := uint64(time.Now().UnixNano())
	if !m.JoinTopic([]byte(name), m.shard, token) {
		eventually(t, "topic ready", func() bool { return m.shard.count(token) == 1 })
	}
}

func (m *member) user(t testing.TB, uid string) {
	t.Helper()
	token := uint64(time.Now().UnixNano())
	if !m.JoinUser([]byte(uid), m.shard, token) {
		eventually(t, "user ready", func() bool { return m.shard.count(token) == 1 })
	}
}

// publish fails the test if the message is refused.
func (m *member) publish(t *testing.T, to message.Target, payload string) *message.Message {
	t.Helper()
	msg := &message.Message{Target: to, Payload: []byte(payload)}
	if err := m.Publish(msg); err != nil {
		t.Fatalf("publish %v %q: %v", to, payload, err)
	}
	return msg
}

// sid makes an id that has the form of a session id and that nodeOf understands.
func sid(node uint32, n int) string {
	var b [22]byte
	binary.BigEndian.PutUint32(b[2:], node)
	binary.BigEndian.PutUint32(b[6:], uint32(n))
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// nodeOf replaces message.NodeOf.
func nodeOf(id string) (uint32, error) {
	b, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil || len(b) != 22 {
		return 0, message.CheckSID(id)
	}
	return binary.BigEndian.Uint32(b[2:]), nil
}

// uidInBucket returns a user of user bucket b, a different one for each n.
func uidInBucket(b uint16, n int) string {
	for i := 0; ; i++ {
		if uid := "u" + strconv.Itoa(i); UserBucket(uid) == b {
			if n == 0 {
				return uid
			}
			n--
		}
	}
}

// external starts a NATS server. With port 0 it chooses a port at which another
// server can be started after this one.
func external(t testing.TB, port int) *server.Server {
	t.Helper()
	if port == 0 {
		port = freePort(t)
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: port, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("external NATS server not ready")
	}
	t.Cleanup(func() { kill(s) })
	return s
}

// freePort returns a free port below the ephemeral range: an ephemeral port could
// be taken by another process before a server is started there again.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := 12_000 + rand.IntN(20_000)
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port))); err == nil {
			l.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func kill(s *server.Server) {
	s.Shutdown()
	s.WaitForShutdown()
}

func portOf(t *testing.T, s *server.Server) int {
	t.Helper()
	return s.Addr().(*net.TCPAddr).Port
}

// client connects a NATS client that is not a node.
func client(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func send(t *testing.T, nc *nats.Conn, m *nats.Msg) {
	t.Helper()
	if err := nc.PublishMsg(m); err != nil {
		t.Fatal(err)
	}
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
}

// fakeClock is a clock that only advance moves.
type fakeClock struct {
	mu    sync.Mutex
	t     time.Time
	ticks []chan time.Time
}

func newFakeClock() *fakeClock { return &fakeClock{t: time.Now()} }

func (c *fakeClock) clock() clock {
	return clock{
		now: func() time.Time {
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.t
		},
		tick: func(time.Duration) (<-chan time.Time, func()) {
			ch := make(chan time.Time)
			c.mu.Lock()
			c.ticks = append(c.ticks, ch)
			c.mu.Unlock()
			return ch, func() {}
		},
	}
}

// advance moves the time and sends one tick to every periodic step. It returns
// when the steps have begun; the next advance waits for their end.
func (c *fakeClock) advance(t *testing.T, d time.Duration) {
	t.Helper()
	c.mu.Lock()
	c.t = c.t.Add(d)
	now, ticks := c.t, slices.Clone(c.ticks)
	c.mu.Unlock()
	for _, ch := range ticks {
		select {
		case ch <- now:
		case <-time.After(time.Minute):
			t.Fatal("a periodic step does not run")
		}
	}
}

// armedClock panics once when it is asked for the time, after set(true).
type armedClock struct{ armed atomic.Bool }

func (a *armedClock) set(on bool) { a.armed.Store(on) }

func (a *armedClock) over(c clock) clock {
	now := c.now
	c.now = func() time.Time {
		if a.armed.CompareAndSwap(true, false) {
			panic("injected")
		}
		return now()
	}
	return c
}

func numbered(prefix string, n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprint(prefix, i)
	}
	return out
}
