package main

import (
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"belfry/metrics"
	"belfry/pace"
	"belfry/push"
	"belfry/session"
)

// drain takes the clients off the node, which goes on for everything else. It implements
// push.Drain. First the node is not ready; after shutdown.delay the shards get their
// rates, once, and close sessions on their own until the drain is stopped.
type drain struct {
	n      *belfry
	active atomic.Bool // read by shards

	turn  sync.Mutex // held by Start and Stop, which wait for shards
	ended chan struct{}
	stop  context.CancelFunc // of the watch; nil: there is none. With ended guarded by turn

	mu sync.Mutex // guards what follows; held for a copy
	drainPlan
}

// drainPlan is what is being done.
type drainPlan struct {
	over   time.Duration
	since  time.Time
	opens  time.Time // when sessions are closed from
	total  int       // sessions at since
	before uint64    // sessions that drains had closed at since
	rate   float64   // sessions a second; 0: not ordered yet
}

// orderTime bounds the wait for shards where no request does.
const orderTime = time.Second

// Start implements push.Drain.
func (d *drain) Start(ctx context.Context, over time.Duration) (push.DrainStatus, error) {
	d.turn.Lock()
	defer d.turn.Unlock()
	if d.n.stopping.Load() {
		return push.DrainStatus{}, push.ErrStopping
	}
	now := time.Now()
	d.mu.Lock()
	first := !d.active.Load()
	if first {
		d.drainPlan = drainPlan{since: now, opens: now.Add(d.n.cfg.Shutdown.Delay), total: d.n.sessions.Sessions(), before: d.n.sessions.Shedded(session.ReasonDrain)}
	}
	d.over = over
	d.mu.Unlock()
	if first {
		d.active.Store(true) // not ready
		d.n.log.Info("draining: not ready; sessions are closed after shutdown.delay", zap.Duration("over", over), zap.Duration("delay", d.n.cfg.Shutdown.Delay), zap.Int("sessions", d.total))
		var watch context.Context
		watch, d.stop = context.WithCancel(context.Background())
		d.ended = make(chan struct{})
		go d.watch(watch)
	}
	var err error
	if !now.Before(d.opens) {
		err = d.order(ctx)
	}
	return d.Status(), err
}

// order gives the shards the rate that closes all sessions in the time.
func (d *drain) order(ctx context.Context) error {
	d.mu.Lock()
	d.rate = pace.Rate(d.n.sessions.Sessions(), d.over)
	rate := d.rate
	d.mu.Unlock()
	return d.n.sessions.Shed(ctx, session.Shed{Reason: session.ReasonDrain, Rate: rate})
}

// watch gives the order when load balancers had their time, and writes into the log when
// no session is left.
func (d *drain) watch(ctx context.Context) {
	defer close(d.ended)
	opens := time.NewTimer(time.Until(d.opens)) // not changed after the start
	defer opens.Stop()
	select {
	case <-opens.C:
	case <-ctx.Done():
		return
	}
	if d.n.cfg.Shutdown.Delay > 0 {
		timed, cancel := context.WithTimeout(ctx, orderTime)
		err := d.order(timed)
		if cancel(); err != nil && ctx.Err() == nil {
			d.n.log.Warn("shards were not told in time to close sessions: drain once more", zap.Error(err))
		}
	}
	look := time.NewTicker(time.Second)
	defer look.Stop()
	for d.Status().State != push.DrainDone {
		select {
		case <-look.C:
		case <-ctx.Done():
			return
		}
	}
	st := d.Status()
	d.n.log.Info("drained: no session is left", zap.Int("closed", st.Closed), zap.Duration("took", time.Since(st.Since)))
}

// Status implements push.Drain.
func (d *drain) Status() push.DrainStatus {
	st := push.DrainStatus{Node: d.n.bus.Name(), State: push.DrainOff, Left: d.n.sessions.Sessions()}
	d.mu.Lock()
	plan := d.drainPlan
	d.mu.Unlock()
	if !d.active.Load() {
		return st
	}
	st.Total, st.Since, st.Over = plan.total, plan.since, plan.over.Seconds()
	st.Closed = int(d.n.sessions.Shedded(session.ReasonDrain) - plan.before)
	rate, wait := plan.rate, time.Duration(0)
	st.State = push.DrainRunning
	if rate == 0 {
		st.State = push.DrainWaiting
		rate, wait = pace.Rate(st.Left, plan.over), max(time.Until(plan.opens), 0)
	} else if st.Left == 0 {
		st.State = push.DrainDone
	}
	st.Rate = pace.Ceiling(rate, d.n.cfg.Shards)
	st.ETA = math.Round(10*(wait.Seconds()+float64(st.Left)/rate)) / 10
	return st
}

// Stop implements push.Drain.
func (d *drain) Stop(ctx context.Context) (push.DrainStatus, error) {
	d.turn.Lock()
	defer d.turn.Unlock()
	if !d.active.Load() {
		return d.Status(), nil
	}
	d.endWatch()
	if err := d.n.sessions.StopShedding(ctx); err != nil {
		return d.Status(), err
	}
	st := d.Status()
	d.active.Store(false)
	d.n.log.Info("the drain was stopped", zap.Int("closed", st.Closed), zap.Int("left", st.Left))
	return d.Status(), nil
}

// endWatch ends the watch and waits for it. d.turn is held.
func (d *drain) endWatch() {
	if d.stop == nil {
		return
	}
	d.stop()
	<-d.ended
	d.stop = nil
}

// end is called at shutdown, which closes the sessions at its own pace.
func (d *drain) end() {
	d.turn.Lock()
	defer d.turn.Unlock()
	d.endWatch()
}

func (n *belfry) drainValues() metrics.Drain {
	v := metrics.Drain{Balancing: oneIf(n.balancing.Load()), Shed: map[string]uint64{}}
	for _, r := range []session.Reason{session.ReasonDrain, session.ReasonRebalance} {
		v.Shed[r.String()] = n.sessions.Shedded(r)
	}
	if n.drain.active.Load() {
		st := n.drain.Status()
		v.Active, v.Total, v.Rate, v.ETA = 1, uint64(st.Total), uint64(st.Rate), st.ETA
	}
	return v
}
