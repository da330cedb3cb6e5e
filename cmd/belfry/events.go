package main

import (
	"go.uber.org/zap"

	"belfry/broadcast"
	"belfry/config"
	"belfry/events"
	"belfry/gateway"
	"belfry/metrics"
)

func eventOptions(c *config.Config) (o events.Options, err error) {
	o.MaxBytes = int64(c.Cluster.EventsBytes)
	for _, name := range c.Cluster.Events {
		kind, err := events.ParseKind(name)
		if err != nil {
			return o, err
		}
		o.Kinds = append(o.Kinds, kind)
	}
	return o, nil
}

// openEvents makes what publishes events, if some are wanted and somebody can get them.
// It is called before the directory is made.
func (n *belfry) openEvents() error {
	o, err := eventOptions(n.cfg)
	if err != nil || len(o.Kinds) == 0 {
		return err
	}
	if n.bus.Control().Alone() {
		n.log.Warn("nobody can get events: set nats.url, nats.listen or nats.cluster_listen", zap.Strings("cluster.events", n.cfg.Cluster.Events))
		return nil
	}
	o.Node, o.NodeID, o.Bucket, o.Publish, o.Log = n.bus.Name(), n.bus.NodeID(), broadcast.UserBucket, n.bus.PublishPlain, n.log.Named("events")
	n.events, err = events.New(o)
	return err
}

// startEvents begins to publish. It is called after the bus has started.
func (n *belfry) startEvents() {
	if n.events != nil {
		n.events.Start()
		n.goneEvents.start()
	}
}

// closeEvents publishes what waits. It is called when the sessions have ended, before
// the bus closes.
func (n *belfry) closeEvents() {
	if n.events != nil {
		n.events.Close()
		n.goneEvents.close()
	}
}

// userEvents gives the directory access to the events.
type userEvents struct{ *events.Publisher }

// Online implements cluster.Users.
func (e userEvents) Online(uid string) { e.User(uid, true) }

// Offline implements cluster.Users.
func (e userEvents) Offline(uid string) { e.User(uid, false) }

// List implements cluster.Users.
func (e userEvents) List(bucket uint16, uids []string) { e.Users(bucket, uids) }

// tellGone publishes that a session has ended with its node.
func (n *belfry) tellGone(e *gateway.Ended) { n.events.NodeGone(e.Node, e.SID, e.UID, e.Since) }

// eventValues adds what is counted of events to v and limits.
func (n *belfry) eventValues(v *metrics.Cluster, limits map[string]uint64) {
	limits["cluster.events_bytes"] = 0
	v.Events, v.EventsLost = map[string]uint64{}, map[string]uint64{"bytes": 0, "nats": 0}
	for k := range events.Users + 1 {
		v.Events[k.String()] = 0
	}
	if n.events == nil {
		return
	}
	st := n.events.Stats()
	limits["cluster.events_bytes"] = st.Dropped
	v.Events, v.EventsLost["bytes"], v.EventsLost["nats"] = st.Published, st.Dropped, st.Failed
	v.EventsBytes = uint64(max(st.Bytes, 0))
}
