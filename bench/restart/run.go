package restart

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/bench"
	"belfry/bench/publish"
	"belfry/bench/report"
	"belfry/bench/target"
	"belfry/bench/tool"
)

// patience is how long nodes may take to start, and the last messages to arrive.
const patience = 30 * time.Second

type run struct {
	Restarts []restarted `json:"restarts"`
	Ended    int         `json:"ended"`    // sessions that ended
	Faults   uint64      `json:"faults"`   // messages that were lost, doubled or out of order
	Sent     uint64      `json:"sent"`     // messages to all, to the topic and to users
	Received uint64      `json:"received"` // by all clients
	Asked    uint64      `json:"asked"`    // messages of clients to the backend
	Answered uint64      `json:"answered"`
	Churned  int         `json:"connects"` // of clients that come and go
	Failed   int         `json:"failed"`   // of these
	Causes   []string    `json:"causes,omitempty"`
	Kernel   int64       `json:"kernel"` // memory of the node's sockets in the kernel, bytes: half of what the slabs grew by, because clients have as many

	o      *Options
	p      *tool.Progress
	ports  *target.Ports
	folder string
	node   *node
	bus    *bench.Process   // the node that only publishes; nil with Alone
	addrs  []netip.AddrPort // of: clients, API of the node, API of the other one, NATS
	token  string

	backend *target.Backend
	crowd   *bench.Pool
	room    *bench.Pool
	callers *bench.Pool // nil: none
	churn   *bench.Pool // nil: none
	pub     *publisher
}

// Run carries out o.
func Run(ctx context.Context, o *Options, p *tool.Progress) (*report.Report, error) {
	rep, err := report.New("restart")
	if err != nil {
		return nil, err
	}
	r := &run{o: o, p: p, ports: target.NewPorts(o.FirstPort), token: rand.Text()}
	defer r.ports.Release()
	rep.Detail = r
	p.Begin(o.Restarts + 2)
	err = r.all(ctx)
	rep.End(err)
	r.fill(rep)
	return rep, err
}

// all starts everything, and ends it again. The clients end first, because their resets
// leave no port in TIME_WAIT.
func (r *run) all(ctx context.Context) (err error) {
	if r.folder, err = os.MkdirTemp("", "belfry-restart"); err != nil {
		return err
	}
	defer os.RemoveAll(r.folder)
	if r.backend, err = target.StartBackend(echo); err != nil {
		return err
	}
	defer r.backend.Stop()
	r.p.Step("%d sessions", r.o.sessions())
	defer r.stop()
	if err := r.start(ctx); err != nil {
		return err
	}
	before, err := bench.Meminfo("Slab")
	if err != nil {
		return err
	}
	if err := r.connect(ctx); err != nil {
		return err
	}
	after, err := bench.Meminfo("Slab")
	if err != nil {
		return err
	}
	r.Kernel = max(after[0]-before[0], 0) / 2
	return r.restarts(ctx)
}

// echo answers a call with its body.
func echo(w http.ResponseWriter, r *http.Request, body []byte) {
	w.Header()["Content-Type"] = r.Header["Content-Type"]
	_, _ = w.Write(body) // else the node gave the call up
}

func (r *run) stop() {
	for _, pool := range []*bench.Pool{r.crowd, r.room, r.callers, r.churn} {
		if pool != nil {
			pool.Stop()
		}
	}
	if r.pub != nil && r.pub.bus != nil {
		r.pub.bus.Close()
	}
	if r.node != nil {
		r.node.stop()
	}
	if r.bus != nil {
		r.bus.Stop(time.Second)
	}
}

// start starts the nodes.
func (r *run) start(ctx context.Context) error {
	var err error
	if r.addrs, err = r.ports.Take(4); err != nil {
		return err
	}
	clients, api, other, bus := r.addrs[0].String(), r.addrs[1].String(), r.addrs[2].String(), r.addrs[3].String()
	r.pub = &publisher{api: api, others: api, size: r.o.Size, clock: bench.NewClock()}
	env := []string{"BELFRY_NATS_TOKEN=" + r.token}
	args := []string{"serve", "--dev", "--log-level", "info", "--shards", fmt.Sprint(r.o.Shards), "--node-name"}
	if !r.o.Alone {
		// --listen of this node serves nobody: the kernel chooses its port.
		if r.bus, err = bench.Start(ctx, "the node with NATS", false, env, r.o.Server,
			append(args, "bench-nats", "--listen", "127.0.0.1:0", "--api", other, "--nats-listen", bus, "--set", "control.socket=off")...); err != nil {
			return err
		}
		if err := r.ready(ctx, r.bus, other); err != nil {
			return err
		}
		if r.pub.bus, err = nats.Connect("nats://"+bus, nats.Token(r.token)); err != nil {
			return err
		}
		r.pub.others = other
	}
	r.node = &node{binary: r.o.Server, socket: filepath.Join(r.folder, "belfry.sock")}
	args = append(args, "bench-restart", "--listen", clients, "--api", api,
		"--set", "control.socket="+r.node.socket, "--set", fmt.Sprintf("max_connections=%d", r.o.sessions()+r.o.Churn+100),
		"--set", "session.ping_interval=5s", "--set", fmt.Sprintf(`gateway.routes={name: echo, url: "%s", in_flight: 1000, timeout: 5s}`, r.backend.URL))
	if !r.o.Alone {
		args = append(args, "--nats-url", "nats://"+bus)
	}
	if r.node.first, err = bench.Start(ctx, "the node", false, env, r.o.Server, args...); err != nil {
		return err
	}
	if err := r.ready(ctx, r.node.first, api); err != nil {
		return err
	}
	return r.settled(ctx)
}

// settled waits until both nodes take Idempotency-Keys: nodes that have just started do
// not know each other yet.
func (r *run) settled(ctx context.Context) error {
	for _, api := range []string{r.pub.api, r.pub.others} {
		if err := r.pub.push(ctx, api, "/v1/users/nobody", bench.Message{Stream: bench.Direct}); err != nil {
			return err
		}
	}
	return nil
}

// ready waits until a node that was just started is ready.
func (r *run) ready(ctx context.Context, p *bench.Process, api string) error {
	return target.Until(ctx, patience, []*bench.Process{p}, func() error {
		_, err := publish.Get(ctx, patience, "http://"+api+"/readyz")
		return err
	})
}

// connect connects all clients but those that come and go.
func (r *run) connect(ctx context.Context) (err error) {
	if r.crowd, err = r.pool(ctx, r.o.Connections, bench.Wire{Path: "/ws?uid={uid}", Users: r.o.users()}); err != nil {
		return err
	}
	if r.room, err = r.pool(ctx, r.o.Members, bench.Wire{Path: "/ws?uid=m{n}&topic=" + topic, Users: 1}); err != nil {
		return err
	}
	if r.o.Callers > 0 {
		if r.callers, err = r.pool(ctx, r.o.Callers, bench.Wire{Path: "/ws?uid=g{n}"}); err != nil {
			return err
		}
	}
	if r.o.Churn > 0 {
		r.churn, err = r.clients(ctx, r.o.Churn, bench.Wire{Path: "/ws?uid=c{n}"})
	}
	return err
}

// pool starts clients and connects them.
func (r *run) pool(ctx context.Context, n int, wire bench.Wire) (*bench.Pool, error) {
	pool, err := r.clients(ctx, n, wire)
	if err != nil {
		return nil, err
	}
	opened, err := pool.Connect(ctx, 0, n)
	if err = errors.Join(err, opened.Err()); err != nil {
		pool.Stop()
		return nil, err
	}
	return pool, nil
}

// clients starts clients in one process, or in as many as the limit of files requires.
func (r *run) clients(ctx context.Context, n int, wire bench.Wire) (*bench.Pool, error) {
	return bench.StartPool(ctx, bench.PoolOptions{Connections: n, Targets: r.addrs[:1], Processes: 1, Wire: wire, ReceiptTimeout: patience})
}
