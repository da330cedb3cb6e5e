package gateway

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"belfry/session"
	"belfry/ws"
)

// Gateway implements session.Events. Any goroutine may use it.
type Gateway struct {
	opt      Options
	sets     sets
	prefix   string // of ids: it differs for every start of every node
	sessions atomic.Pointer[Sessions]
	seq      atomic.Uint64 // of events

	ctx     context.Context // of calls
	cancel  context.CancelFunc
	wake    chan struct{}  // for the router; holds one
	room    chan struct{}  // for NodeGone; holds one
	working sync.WaitGroup // workers, and the router

	mu          sync.Mutex
	retired     []*route          // that are not in force any more and have events
	congested   int               // routes whose queue is half full
	queues      map[string]*queue // of the sessions that have events here, by session id
	unrouted    list              // sessions whose next event has no route yet
	bytes       int64             // of all events
	inFlight    int               // calls
	spare       []chan task       // of workers that wait for a call, the last one longest
	limited     bool              // a route waits for Options.InFlight
	roomAwaited bool              // by NodeGone
	delayed     map[*queue]*time.Timer
	stopping    bool
	ended       bool          // no worker becomes a spare one any more
	empty       chan struct{} // closed when stopping and nothing is left; nil before

	count totals
}

// totals are counters of the node.
type totals struct {
	unmatched  atomic.Uint64 // messages that no route took
	paused     atomic.Uint64 // times that a session was paused
	overQueue  atomic.Uint64 // Options.SessionQueue
	overBytes  atomic.Uint64 // Options.SessionBytes
	nodeBytes  atomic.Uint64 // Options.QueueBytes
	keptCut    atomic.Uint64 // requests of which not all wanted headers were kept
	commands   [commandTypes]atomic.Uint64
	cmdsFailed atomic.Uint64
	faults     atomic.Uint64 // panics
}

var _ session.Events = (*Gateway)(nil)

// New returns a gateway, which does nothing until Start. Errors name the route and
// the field.
func New(o Options) (*Gateway, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	g := &Gateway{opt: o, prefix: fmt.Sprintf("%08x-%s-", o.NodeID, strconv.FormatInt(time.Now().UnixMicro(), 36)), wake: make(chan struct{}, 1), room: make(chan struct{}, 1), queues: map[string]*queue{}, delayed: map[*queue]*time.Timer{}}
	routes, err := compileAll(o.Routes)
	if err != nil {
		return nil, err
	}
	g.sets.change(routes)
	return g, nil
}

// Start starts the gateway. It must be called before the sessions accept clients.
func (g *Gateway) Start(s Sessions) {
	g.ctx, g.cancel = context.WithCancel(context.Background())
	g.sessions.Store(&s)
	g.working.Go(g.route)
}

// Match implements session.Events. It compares the path and the subprotocol, and no
// more.
func (g *Gateway) Match(r *ws.Request, _ string) (session.Route, []byte) {
	s := g.sets.of(origin{path: string(r.Path()), subprotocol: r.Subprotocol()})
	if s == nil || len(s.routes) == 0 {
		return 0, nil
	}
	kept, cut := s.keep(r)
	if cut {
		g.count.keptCut.Add(1)
	}
	return s.number, kept
}

// Opened implements session.Events.
func (g *Gateway) Opened(c *session.Client) {
	if g.wants(c, Connect) {
		g.other(newEvent(Connect, c))
	}
}

// Subscribed implements session.Events.
func (g *Gateway) Subscribed(c *session.Client, topic string) {
	if g.wants(c, Subscribe) {
		e := newEvent(Subscribe, c)
		e.topic = topic
		g.other(e)
	}
}

// Unsubscribed implements session.Events.
func (g *Gateway) Unsubscribed(c *session.Client, topic string) {
	if g.wants(c, Unsubscribe) {
		e := newEvent(Unsubscribe, c)
		e.topic = topic
		g.other(e)
	}
}

// Closed implements session.Events.
func (g *Gateway) Closed(c *session.Client, r session.Reason, lasted time.Duration) {
	if g.wants(c, Disconnect) {
		e := newEvent(Disconnect, c)
		e.reason, e.lasted = r, lasted
		g.other(e)
	}
}

// wants says whether a route of the session takes events of a kind at all.
func (g *Gateway) wants(c *session.Client, k Kind) bool {
	return len(g.sets.get(c.Route).byKind[k]) > 0
}

// Degraded returns what does not work although the node is ready.
func (g *Gateway) Degraded() (reasons []string) {
	for _, r := range g.routes() {
		if last := r.lost.Load(); last != 0 && time.Since(time.Unix(0, last)) < degradedFor {
			reasons = append(reasons, "gateway: route "+r.Name+" has dropped events")
		}
		if s := r.Backend.Stats(); s.URLs > 0 && s.Open == s.URLs {
			reasons = append(reasons, "gateway: the backend of route "+r.Name+" fails")
		}
	}
	return reasons
}

// degradedFor is how long the gateway is degraded after it has dropped an event.
const degradedFor = time.Minute

// guard calls f, which handles e, and says whether f has returned. A panic ends no
// goroutine of the gateway.
func (g *Gateway) guard(e *event, f func()) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			g.fault(e, v)
		}
	}()
	f()
	return true
}

// fault reports a panic, which costs one event.
func (g *Gateway) fault(e *event, v any) {
	g.count.faults.Add(1)
	g.opt.Log.Error("fault of belfry: an event for a backend panicked", zap.Stringer("event", e.kind), zap.Any("panic", v), zap.Stack("stack"))
}

// drop counts an event that nobody is told of.
func (g *Gateway) drop(e *event, r *route, why cause) {
	r.dropped[e.kind][why].Add(1)
	if why != causeRefused {
		r.lost.Store(time.Now().UnixNano()) // not e.at: the event may have waited for long
		g.opt.Log.Debug("event dropped", zap.String("route", r.Name), zap.Stringer("event", e.kind), zap.String("cause", causeNames[why]))
	}
}
