package main

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"

	"belfry/broadcast"
	"belfry/cluster"
	"belfry/config"
	"belfry/events"
	"belfry/gateway"
	"belfry/message"
	"belfry/metrics"
	"belfry/session"
)

// directory joins the shards with the cluster's directory. A shard must not wait for
// the lock of a cluster.Directory, so a goroutine takes what has changed.
type directory struct {
	control *broadcast.Control
	gateway *gateway.Gateway // nil: there are no routes
	members *cluster.Members
	*cluster.Directory
	wake  chan struct{} // capacity 1: queue is not empty
	ended sync.WaitGroup
	stop  context.CancelFunc // nil: not started

	mu    sync.Mutex // guards queue and asks; held for a copy
	queue session.Changes
	asks  []placeAsk
}

func clusterOptions(c *config.Config) cluster.Options {
	most := c.Cluster.MaxSessions
	if most == 0 {
		most = min(4*c.MaxConnections, 1<<28)
	}
	return cluster.Options{MaxSessions: most, List: c.Cluster.EventsList, Caps: caps(c)}
}

// openDirectory makes the directory, unless no other node can exist. It is called
// before the bus starts.
func (n *belfry) openDirectory() (err error) {
	control := n.bus.Control()
	control.Describe(func(s *broadcast.Status) {
		s.Version, s.Draining = beaconVersion(), n.drain.active.Load()
		if n.sessions != nil { // nil before the bus starts
			s.Load = uint64(max(n.sessions.Stats().Sessions, 0))
		}
	})
	if control.Alone() {
		return n.openKeys(nil)
	}
	d := &directory{control: control, gateway: n.gateway, wake: make(chan struct{}, 1)}
	log := n.log.Named("cluster")
	if d.members, err = cluster.NewMembers(cluster.MembersOptions{Control: control, Beacon: n.cfg.NATS.Beacon, Log: log}); err != nil {
		return err
	}
	if err = n.openKeys(d); err != nil {
		return err
	}
	o := clusterOptions(n.cfg)
	o.Control, o.Members, o.Memory, o.Log, o.Evict, o.Overhear = control, d.members, &n.memory, log, n.evict, n.bus.Overhear
	if n.events != nil && n.events.Wants(events.Online) || n.events != nil && n.events.Wants(events.Offline) {
		o.Users = userEvents{n.events}
	}
	if d.Directory, err = cluster.NewDirectory(o); err != nil {
		return addressSpace(err, n.cfg)
	}
	n.bus.Route(d.Directory)
	n.directory = d
	return nil
}

// beaconVersion is the version of the program as a beacon can carry it.
func beaconVersion() string {
	v := []byte(buildVersion())
	for i, c := range v {
		if c <= ' ' || c > '~' {
			v[i] = '-'
		}
	}
	return string(v[:min(len(v), 64)])
}

// changed takes what one shard has changed. Shards call it.
func (d *directory) changed(p session.Changes) {
	d.mu.Lock()
	d.queue = append(d.queue, p...)
	d.mu.Unlock()
	d.awaken()
}

// awaken has feed look at what is queued.
func (d *directory) awaken() {
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// start runs the directory until close.
func (d *directory) start() {
	ctx, stop := context.WithCancel(context.Background())
	d.stop = stop
	d.ended.Go(func() { d.members.Run(ctx) })
	d.ended.Go(func() { d.Run(ctx) })
	d.ended.Go(func() { d.feed(ctx) })
}

// feed passes changes to the directory.
func (d *directory) feed(ctx context.Context) {
	var p session.Changes
	for {
		select {
		case <-d.wake:
		case <-ctx.Done():
			return
		}
		p = d.apply(p)
		d.ask() // after the sessions that have ended
	}
}

// apply passes what is queued to the directory. spare is reused for the queue.
func (d *directory) apply(spare session.Changes) session.Changes {
	if cap(spare) > 1<<20 {
		spare = nil // of a rush
	}
	d.mu.Lock()
	p := d.queue
	d.queue = spare[:0]
	d.mu.Unlock()
	now := time.Now()
	p.Each(func(opened bool, uid []byte, key message.SessionKey, class []byte, route session.Route, since uint32) {
		if opened {
			at := now
			if since != 0 {
				at = time.Unix(int64(since), 0)
			}
			d.Opened(uid, cluster.Session{Key: key, Since: at, Class: string(class), Route: d.routeOf(route, uid)})
		} else {
			d.Closed(uid, key)
		}
	})
	return p
}

// routeOf returns the route of the gateway that is told when a session ends, "" if
// there is none.
func (d *directory) routeOf(route session.Route, uid []byte) string {
	if d.gateway == nil || route == 0 {
		return ""
	}
	return d.gateway.DisconnectRoute(route, string(uid))
}

// leave tells the other nodes that this one drains.
func (d *directory) leave() {
	if d != nil {
		d.Leave()
	}
}

// flush waits until the others know that the last sessions have ended.
func (d *directory) flush(ctx context.Context, log *zap.Logger) {
	if d == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, confirmTime)
	defer cancel()
	d.apply(nil)
	if err := d.Flush(ctx); err != nil {
		log.Warn("other nodes may take sessions that were closed for lost", zap.Error(err))
	}
}

// confirmTime limits flush, in a cluster whose other nodes are away.
const confirmTime = time.Second

// close ends the goroutines and releases the memory. It is called after the bus was
// closed, so that no command comes any more.
func (d *directory) close() {
	if d == nil {
		return
	}
	if d.stop != nil {
		d.stop()
	}
	d.ended.Wait()
	d.Close()
}

// clusterValues returns what the directory counts, and adds what was refused to limits.
func (n *belfry) clusterValues(limits map[string]uint64) metrics.Cluster {
	if n.directory == nil {
		var v metrics.Cluster
		capValues(&cluster.Stats{}, &v)
		return v
	}
	st := n.directory.Stats()
	limits["cluster.max_sessions"] += st.Refused
	v := metrics.Cluster{
		Sessions: map[string]uint64{"own": uint64(st.Own), "kept": uint64(st.Kept)},
		Pending:  uint64(max(st.Pending, 0)), Bodies: st.Bodies, Failed: st.Failed, Restated: st.Restated,
		Lost: st.Gone, Asked: st.Asked, Malformed: st.Malformed,
	}
	capValues(&st, &v)
	return v
}

// routeValues returns what the bus and the directory count of pushes to users.
func (n *belfry) routeValues(r *broadcast.RouteStats) metrics.Routes {
	v := busRouteValues(r)
	if n.directory != nil {
		st := n.directory.Stats()
		v.Overhearing, v.Expected, v.Waiting = oneIf(st.Overhearing), st.Expected, uint64(st.Waiting)
	}
	return v
}

func busRouteValues(r *broadcast.RouteStats) metrics.Routes {
	return metrics.Routes{
		Relayed: r.Relayed, Confirmed: r.Confirmed, Copies: r.Copies,
		ToAll:       map[string]uint64{"home": r.ToAll, "publisher": r.Direct},
		Republished: r.Republished, Fallbacks: r.Fallbacks, Held: r.Held, Fences: r.Fences, Overdue: r.Overdue,
		Dropped: r.Dropped, Late: r.Late, Refused: r.Refused, Overheard: r.Overheard,
	}
}
