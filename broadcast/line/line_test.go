package line

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func startServer(t testing.TB) *server.Server {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("NATS server not ready")
	}
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	return s
}

// process stands for a process that has the connection.
type process struct {
	dialer *Dialer
	nc     *nats.Conn
	in     chan *nats.Msg
}

func connect(t testing.TB, url string, d *Dialer) *process {
	t.Helper()
	nc, err := nats.Connect(url, nats.SetCustomDialer(d), nats.SkipHostLookup(), nats.NoEcho(), nats.ReconnectBufSize(-1),
		nats.PingInterval(20*time.Millisecond), nats.MaxPingsOutstanding(1000), nats.ReconnectWait(time.Millisecond))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return &process{d, nc, make(chan *nats.Msg, 1<<20)}
}

func (p *process) subscribe(t testing.TB, subjects ...string) {
	t.Helper()
	for _, s := range subjects {
		if _, err := p.nc.ChanSubscribe(s, p.in); err != nil {
			t.Fatal(err)
		}
	}
}

// stop stops the connection of p.
func (p *process) stop(t testing.TB) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	c := p.dialer.Current()
	if err := c.Stop(ctx); err != nil {
		t.Fatal(err)
	}
	if err := Written(ctx, p.nc); err != nil {
		t.Fatal(err)
	}
	c.Freeze()
	return c
}

// subscriptions returns how many a server has of the connection of p.
func (p *process) subscriptions(t testing.TB, s *server.Server) int {
	t.Helper()
	list, err := s.Connz(&server.ConnzOptions{Subscriptions: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range list.Conns {
		if strconv.Itoa(c.Port) == portOf(p.dialer.Current()) {
			return len(c.Subs)
		}
	}
	t.Fatal("the server does not have the connection")
	return 0
}

func portOf(c *Conn) string {
	_, port, _ := net.SplitHostPort(c.LocalAddr().String())
	return port
}

// handOver passes the connection of p on to a new process, which makes these
// subscriptions.
func (p *process) handOver(t testing.TB, url string, subjects ...string) *process {
	t.Helper()
	c := p.stop(t)
	s, err := c.State()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := c.Descriptor()
	if err != nil {
		t.Fatal(err)
	}
	d := &Dialer{Timeout: time.Second}
	if err := d.Inherit(s, fd); err != nil {
		t.Fatal(err)
	}
	next := connect(t, url, d)
	next.subscribe(t, subjects...)
	if err := Written(context.Background(), next.nc); err != nil {
		t.Fatal(err)
	}
	if _, err := d.Current().Release(); err != nil {
		t.Fatal(err)
	}
	p.nc.Close()
	return next
}

// drain appends the messages that came, as "subject number".
func (p *process) drain(dst []string) []string {
	for len(p.in) > 0 {
		m := <-p.in
		dst = append(dst, m.Subject+" "+string(m.Data[:strings.IndexByte(string(m.Data)+" ", ' ')]))
	}
	return dst
}

// A plain client publishes numbered messages at full speed while the connection is
// passed on, again and again, and stopped and resumed in between. Each message arrives
// once and in order, and the server sees one connection that lives on.
func TestEachMessageOnceAndInOrder(t *testing.T) {
	const subjects, handOvers = 40, 20
	s := startServer(t)
	names := []string{"all", "users.*"}
	var targets []string
	for i := range subjects {
		names = append(names, fmt.Sprint("topic.", i))
		targets = append(targets, fmt.Sprint("topic.", i), fmt.Sprint("users.", i))
	}
	p := connect(t, s.ClientURL(), &Dialer{Timeout: time.Second})
	p.subscribe(t, names...)
	if err := p.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	var stop atomic.Bool
	var wg sync.WaitGroup
	sent := make([]int, len(targets))
	client, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	wg.Add(1)
	go func() {
		defer wg.Done()
		for n := 1; !stop.Load(); n++ {
			for i, target := range targets {
				m := &nats.Msg{Subject: target, Data: []byte(strconv.Itoa(n) + strings.Repeat(" MSG a 1 2\r\n", n*i%50))}
				if n%3 == 0 {
					m.Header = nats.Header{"Some": {"header"}}
				}
				if err := client.PublishMsg(m); err != nil {
					t.Error(err)
					return
				}
				sent[i] = n
			}
			if n%8 == 0 {
				client.Flush()
			}
		}
	}()
	var got []string
	for range handOvers {
		time.Sleep(5 * time.Millisecond) // messages flow meanwhile; nothing depends on how many
		if c := p.stop(t); c.Resume() != nil {
			t.Fatal("not resumed")
		}
		next := p.handOver(t, s.ClientURL(), names...)
		got = p.drain(got)
		p = next
	}
	stop.Store(true)
	wg.Wait()
	client.Flush()
	if err := p.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	got = p.drain(got)
	check(t, got, targets, sent)
	seen, err := s.Varz(nil)
	if err != nil {
		t.Fatal(err)
	}
	if reconnects := p.nc.Stats().Reconnects; seen.TotalConnections != 2 || reconnects != 0 {
		t.Errorf("the server saw %d connections, want 2; %d reconnects", seen.TotalConnections, reconnects)
	}
	if n := p.subscriptions(t, s); n != len(names) {
		t.Errorf("the server has %d subscriptions, want %d", n, len(names))
	}
	t.Logf("%d messages", len(got))
}

func check(t *testing.T, got, targets []string, sent []int) {
	t.Helper()
	last := make(map[string]int)
	for _, g := range got {
		subject, number, _ := strings.Cut(g, " ")
		n, err := strconv.Atoi(number)
		if err != nil || n != last[subject]+1 {
			t.Fatalf("%s after number %d", g, last[subject])
		}
		last[subject] = n
	}
	for i, target := range targets {
		if last[target] != sent[i] || sent[i] == 0 {
			t.Errorf("%s: %d messages came of %d", target, last[target], sent[i])
		}
	}
}

// What the next process subscribes to and does not: the server has the new ones, and
// not the others. Both processes can publish and confirm before and after.
func TestSubscriptionsThatChange(t *testing.T) {
	s := startServer(t)
	p := connect(t, s.ClientURL(), &Dialer{Timeout: time.Second})
	p.subscribe(t, "kept", "dropped")
	if _, err := p.nc.ChanQueueSubscribe("queue", "q", p.in); err != nil {
		t.Fatal(err)
	}
	if sub, err := p.nc.SubscribeSync("gone"); err != nil || sub.Unsubscribe() != nil || p.nc.Flush() != nil {
		t.Fatal(err)
	}
	client, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	echo, err := client.SubscribeSync("echo")
	if err != nil || client.Flush() != nil {
		t.Fatal(err)
	}
	for round := range 3 {
		next := p.handOver(t, s.ClientURL(), "new", "kept", "dropped"+strconv.Itoa(round))
		if err := next.nc.Publish("echo", []byte("hello")); err != nil || next.nc.Flush() != nil {
			t.Fatal(err)
		}
		if _, err := echo.NextMsg(time.Minute); err != nil {
			t.Fatal(err)
		}
		for _, subject := range []string{"new", "kept", "dropped", "gone", "queue", "dropped" + strconv.Itoa(round-1), "dropped" + strconv.Itoa(round)} {
			client.Publish(subject, []byte("1"))
		}
		if client.Flush() != nil || next.nc.Flush() != nil {
			t.Fatal("no connection")
		}
		want := "new 1,kept 1,dropped" + strconv.Itoa(round) + " 1"
		if got := strings.Join(next.drain(nil), ","); got != want {
			t.Errorf("round %d: got %s, want %s", round, got, want)
		}
		last, err := next.nc.SubscribeSync("later")
		if err != nil || next.nc.Flush() != nil || last.Unsubscribe() != nil || next.nc.Flush() != nil {
			t.Fatal(err)
		}
		if n := next.subscriptions(t, s); n != 3 {
			t.Errorf("round %d: the server has %d subscriptions, want 3", round, n)
		}
		p = next
	}
}

// After the connection has broken, the next one is nats.go's own, and can be passed on
// too.
func TestReconnectAfterHandOver(t *testing.T) {
	s := startServer(t)
	p := connect(t, s.ClientURL(), &Dialer{Timeout: time.Second})
	p.subscribe(t, "a")
	if err := p.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	p = p.handOver(t, s.ClientURL(), "b", "a")
	p.dialer.Current().Conn.Close()
	for deadline := time.Now().Add(time.Minute); p.nc.Stats().Reconnects == 0 || p.nc.Flush() != nil; {
		if time.Now().After(deadline) {
			t.Fatal("no reconnect")
		}
		time.Sleep(time.Millisecond)
	}
	p = p.handOver(t, s.ClientURL(), "a", "b")
	client, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	client.Publish("b", []byte("1"))
	client.Publish("a", []byte("2"))
	if client.Flush() != nil || p.nc.Flush() != nil {
		t.Fatal("no connection")
	}
	if got := strings.Join(p.drain(nil), ","); got != "b 1,a 2" {
		t.Errorf("got %s", got)
	}
}
