package main

import (
	"context"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"belfry/bench"
	"belfry/bench/peers/peer"
	"belfry/bench/peers/servers/centrifugo"
	"belfry/bench/peers/servers/socketio"
	"belfry/bench/tool"
)

// TestMain lets the test binary be the program's child processes.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && slices.Contains([]string{"client", "floor", "serve"}, os.Args[1]) {
		main()
		return
	}
	os.Exit(m.Run())
}

func small() *options {
	return &options{Connections: 60, Rounds: 1, Broadcasts: 3, Size: 128, Clients: 1, Shards: 2,
		Push: 100 * time.Millisecond, Concurrency: 6}
}

func self(t *testing.T) string {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// checkRound runs a round, in which the clients verify that every broadcast
// reaches every connection once and every push those of its user.
func checkRound(t *testing.T, c contender, pushes bool) {
	t.Helper()
	r, err := measureRound(t.Context(), small(), c, tool.NewProgress(io.Discard))
	if err != nil || r.Problem != "" {
		t.Fatalf("%v, problem: %s", err, r.Problem)
	}
	if r.Connects <= 0 || r.Wall <= 0 || r.P99 <= 0 || r.CPU <= 0 || r.BaseRSS <= 0 || r.Clients.CPU <= 0 {
		t.Errorf("not measured: %+v", r)
	}
	if pushes != (r.Push != nil) || pushes && (r.Push.PerSecond <= 0 || r.Push.Pushed == 0 || r.Push.Latency.Count != int64(r.Push.Pushed*perUser)) {
		t.Errorf("pushes: %+v", r.Push)
	}
}

func TestLibraries(t *testing.T) {
	for _, name := range peer.Libraries() {
		t.Run(name, func(t *testing.T) {
			checkRound(t, fromDefinition(peer.ForLibrary(name), self(t)), name != peer.NATS)
		})
	}
}

func TestFloor(t *testing.T) { checkRound(t, floorContender(2), false) }

func TestSocketIO(t *testing.T) {
	command, err := socketio.Install(t.Context(), "cache")
	if errors.Is(err, socketio.ErrNoNode) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	checkRound(t, fromDefinition(peer.ForSocketIO(command), ""), true)
}

// TestCentrifugo runs the program that make bench-peers has built; building it
// would take minutes.
func TestCentrifugo(t *testing.T) {
	program, ok := centrifugo.Built("../../bin/peers-cache")
	if !ok {
		t.Skipf("Centrifugo is not built: %s is missing; make bench-peers ARGS=\"--only centrifugo\" builds it", program)
	}
	all, err := peer.External()
	if err != nil {
		t.Fatal(err)
	}
	checkRound(t, fromDefinition(all[peer.Centrifugo], program), true)
}

func TestPushToOneUserOverNATS(t *testing.T) {
	server, err := startDefined(t.Context(), peer.ForLibrary(peer.NATS), self(t))
	if err != nil {
		t.Fatal(err)
	}
	defer server.Stop()
	d := peer.ForLibrary(peer.NATS)
	wire := d.Wire
	wire.Users = 2
	p, err := bench.StartPool(t.Context(), bench.PoolOptions{Connections: 4, Processes: 1, Targets: server.Listen(0), Wire: wire})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if c, err := p.Connect(t.Context(), 0, 4); err != nil || c.Err() != nil {
		t.Fatal(err, c.Err())
	}
	n := server.all.(*natsPublisher)
	payload := bench.AppendMessage(nil, bench.Message{Stream: bench.Direct, User: 1, Seq: 1, Stamp: n.clock.Now()}, 128)
	if err := n.conn.Publish("user."+bench.UID(1), payload); err != nil {
		t.Fatal(err)
	}
	wait := bench.Command{Op: bench.OpWait, Wait: &bench.Wait{Stream: bench.Direct, Until: 2, Timeout: int64(15 * time.Second)}}
	if _, err := p.Processes()[0].Call(t.Context(), wait); err != nil {
		t.Fatal(err)
	}
	if err := p.Verify(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestServerByDefinition(t *testing.T) {
	d, err := peer.Parse([]byte(`
name: mine
connected: http://{api}/v1/connections
command: ["{binary}", "serve", "coder", "--listen", "{listen}", "--api", "{api}"]
files: {unused.txt: "{listen_port}"}
wire: {path: "/ws?uid={uid}", wrapped: true}
all: {path: /v1/all, body: "<{payload}>"}
user: {path: "/v1/users/{uid}", body: "<{payload}>"}
`))
	if err != nil {
		t.Fatal(err)
	}
	checkRound(t, fromDefinition(d, self(t)), true)
}

// doubled publishes everything twice.
type doubled struct{ publisher }

func (d doubled) broadcast(ctx context.Context, seq uint32, size int) (int64, error) {
	if stamp, err := d.publisher.broadcast(ctx, seq, size); err != nil {
		return stamp, err
	}
	return d.publisher.broadcast(ctx, seq, size)
}

func TestFaultsAreAProblem(t *testing.T) {
	c := fromDefinition(peer.ForLibrary(peer.GWS), self(t))
	start := c.start
	c.start = func(ctx context.Context) (server, error) {
		s, err := start(ctx)
		if err == nil {
			s.(*defined).all = doubled{s.(*defined).all}
		}
		return s, err
	}
	r, err := measureRound(t.Context(), small(), c, tool.NewProgress(io.Discard))
	if err != nil || !strings.Contains(r.Problem, "Duplicated") {
		t.Errorf("%v, problem %q; want one that speaks of duplicates", err, r.Problem)
	}
}

func TestServerThatDoesNotStart(t *testing.T) {
	d := peer.ForLibrary(peer.GWS)
	d.Command = []string{"{binary}", "serve", "nonsense"}
	r, err := measureRound(t.Context(), small(), fromDefinition(d, self(t)), tool.NewProgress(io.Discard))
	if err != nil || !strings.Contains(r.Problem, "nonsense") {
		t.Errorf("%v, problem %q; want the server's last words", err, r.Problem)
	}
}

// interrupting ends a context when the first message is published.
type interrupting struct {
	publisher
	cancel context.CancelFunc
}

func (i interrupting) broadcast(ctx context.Context, seq uint32, size int) (int64, error) {
	i.cancel()
	return i.publisher.broadcast(ctx, seq, size)
}

func TestInterruptEndsTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := fromDefinition(peer.ForLibrary(peer.GWS), self(t))
	start := c.start
	var process *bench.Process
	c.start = func(ctx context.Context) (server, error) {
		s, err := start(ctx)
		if err == nil {
			process = s.(*defined).proc
			s.(*defined).all = interrupting{s.(*defined).all, cancel}
		}
		return s, err
	}
	if _, err := measureRound(ctx, small(), c, tool.NewProgress(io.Discard)); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	select {
	case <-process.Exited():
	case <-time.After(5 * time.Second):
		t.Error("the server is still there")
	}
}
