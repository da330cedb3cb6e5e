package main

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"belfry/bench"
	"belfry/bench/peers/peer"
	"belfry/bench/peers/servers/centrifugo"
	"belfry/bench/peers/servers/socketio"
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
	return &options{connections: 60, rounds: 1, broadcasts: 3, size: 128, clients: 1, shards: 2,
		push: 100 * time.Millisecond, concurrency: 6, timeout: time.Minute}
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
func checkRound(t *testing.T, c contender) {
	t.Helper()
	r, err := measureRound(t.Context(), small(), c, func(string) {})
	if err != nil || r.Problem != "" {
		t.Fatalf("%v, problem: %s", err, r.Problem)
	}
	if r.Connects <= 0 || r.Wall <= 0 || r.P99 <= 0 || r.CPU <= 0 || r.BaseRSS <= 0 || r.Clients.CPU <= 0 {
		t.Errorf("not measured: %+v", r)
	}
	if c.pushes && (r.Push == nil || r.Push.Pushed == 0 || r.Push.Latency.Count != int64(r.Push.Pushed*perUser)) {
		t.Errorf("pushes: %+v", r.Push)
	}
}

func TestLibraries(t *testing.T) {
	for _, name := range peer.Libraries() {
		t.Run(name, func(t *testing.T) {
			c := fromDefinition(peer.ForLibrary(name), self(t))
			checkRound(t, c)
			if c.pushes == (name == peer.NATS) {
				t.Errorf("pushes over HTTP: %v", c.pushes)
			}
		})
	}
}

func TestFloor(t *testing.T) { checkRound(t, floorContender(2)) }

func TestSocketIO(t *testing.T) {
	command, err := socketio.Install(t.Context(), "cache")
	if errors.Is(err, socketio.ErrNoNode) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	checkRound(t, fromDefinition(peer.ForSocketIO(command), ""))
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
	checkRound(t, fromDefinition(all[peer.Centrifugo], program))
}

func TestPushToOneUserOverNATS(t *testing.T) {
	target, err := startDefined(t.Context(), peer.ForLibrary(peer.NATS), self(t))
	if err != nil {
		t.Fatal(err)
	}
	defer target.stop()
	d := peer.ForLibrary(peer.NATS)
	wire := d.Wire
	wire.Users = 2
	p, err := bench.StartPool(t.Context(), bench.PoolOptions{Connections: 4, Targets: target.addresses(), Wire: wire})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Stop()
	if c, err := p.Connect(t.Context(), 0, 4); err != nil || c.Err() != nil {
		t.Fatal(err, c.Err())
	}
	n := target.all.(*natsPublisher)
	payload := bench.AppendMessage(nil, bench.Message{Stream: bench.Direct, User: 1, Seq: 1, Stamp: n.clock.Now()}, 128)
	if err := n.conn.Publish("user."+bench.UID(1), payload); err != nil {
		t.Fatal(err)
	}
	if _, err := arrival(t.Context(), p, 2); err != nil {
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
	checkRound(t, fromDefinition(d, self(t)))
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
	c.start = func(ctx context.Context) (*target, error) {
		target, err := start(ctx)
		if err == nil {
			target.all = doubled{target.all}
		}
		return target, err
	}
	r, err := measureRound(t.Context(), small(), c, func(string) {})
	if err != nil || !strings.Contains(r.Problem, "Duplicated") {
		t.Errorf("%v, problem %q; want one that speaks of duplicates", err, r.Problem)
	}
}

func TestServerThatDoesNotStart(t *testing.T) {
	d := peer.ForLibrary(peer.GWS)
	d.Command = []string{"{binary}", "serve", "nonsense"}
	r, err := measureRound(t.Context(), small(), fromDefinition(d, self(t)), func(string) {})
	if err != nil || !strings.Contains(r.Problem, "nonsense") {
		t.Errorf("%v, problem %q; want the server's last words", err, r.Problem)
	}
}

func TestInterruptEndsTheServer(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	c := fromDefinition(peer.ForLibrary(peer.GWS), self(t))
	start := c.start
	var server *bench.Process
	c.start = func(ctx context.Context) (*target, error) {
		target, err := start(ctx)
		if err == nil {
			server = target.proc
		}
		return target, err
	}
	_, err := measureRound(ctx, small(), c, func(what string) {
		if what == "fan-out" {
			cancel()
		}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	select {
	case <-server.Exited():
	case <-time.After(5 * time.Second):
		t.Error("the server is still there")
	}
}
