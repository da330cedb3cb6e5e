package report

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"belfry/broadcast"
	"belfry/message"
)

// Publisher publishes messages; broadcast.Node does. It is push.Publisher.
type Publisher interface {
	PublishWithin(ctx context.Context, m *message.Message, w message.Wait) (waited bool, err error)
}

// Options are what a Reporter works with. Degraded may be nil.
type Options struct {
	Self     broadcast.Peer
	Bus      Bus
	Control  *broadcast.Control
	Degraded func() []string // why there may be nodes that are not known
	MaxWaits int             // pushes of this node whose reports are awaited at once; 0: 1024; beyond: message.OverloadedError
}

// Limits of what a Reporter keeps for other nodes.
const (
	maxCounted = 1 << 16                // messages of other nodes that are counted at once; each takes some 300 B
	ackPause   = 20 * time.Millisecond  // acknowledgements of one message are told to its node together
	slack      = 500 * time.Millisecond // how much longer than its wait a message is counted
)

// Reporter implements broadcast.Reporter. Publish may be called by any goroutine.
type Reporter struct {
	opt  Options
	wake chan struct{} // capacity 1: there is work for run
	stop context.Context
	end  context.CancelFunc
	done sync.WaitGroup

	waiting                       atomic.Int64
	complete, incomplete, refused atomic.Uint64

	mu      sync.Mutex // guards this group; held for a few assignments
	pending map[string]*Pending
	counted map[key]*counted
	changed []*counted // that run has to look at
	spilled time.Time  // until then messages may have come that are not counted
}

// key names a message of another node.
type key struct {
	node uint32
	id   string
}

// counted is a message of another node whose sessions are counted here.
type counted struct {
	key
	report *message.Report
	until  time.Time // when it is forgotten

	// Guarded by Reporter.mu.
	asked  bool // its node has asked, so all parts have come
	queued bool // in Reporter.changed

	// Owned by run.
	told  bool
	later bool // acknowledgements are told in a moment
}

// New makes a Reporter, and has the bus tell it of the messages of other nodes. It is
// called before the bus starts. Close ends it.
func New(o Options) *Reporter {
	if o.MaxWaits == 0 {
		o.MaxWaits = 1024
	}
	r := &Reporter{opt: o, wake: make(chan struct{}, 1), pending: map[string]*Pending{}, counted: map[key]*counted{}}
	r.stop, r.end = context.WithCancel(context.Background())
	o.Bus.SetReporter(r)
	o.Control.HandleAtOnce(kindResult, r.told) // thousands may come at once
	r.done.Go(r.run)
	return r
}

// Close ends the goroutine of the Reporter, and every wait.
func (r *Reporter) Close() {
	r.end()
	r.done.Wait()
}

// Stats are counters since New and, where marked with "now", present values.
type Stats struct {
	Waiting    int    // now: pushes whose reports are awaited
	Complete   uint64 // waits that ended with the reports of all nodes
	Incomplete uint64 // the others
	Refused    uint64 // pushes refused because of Options.MaxWaits
}

// Stats returns the counters. Any goroutine.
func (r *Reporter) Stats() Stats {
	return Stats{int(r.waiting.Load()), r.complete.Load(), r.incomplete.Load(), r.refused.Load()}
}

func wakeUp(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
