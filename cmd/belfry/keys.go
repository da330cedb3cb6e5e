package main

import (
	"belfry/cluster"
	"belfry/config"
	"belfry/idempotency"
	"belfry/metrics"
)

// openKeys makes what remembers Idempotency-Keys. d is nil if no other node can exist. It
// is called before the bus starts, and before the directory is made.
func (n *belfry) openKeys(d *directory) (err error) {
	o := keyOptions(n.cfg)
	if d != nil {
		o.Control, o.Members, o.Settle = n.bus.Control(), d.members, settleBeacons*n.cfg.NATS.Beacon
		o.Homes = func() *cluster.Homes { return d.Homes() } // d.Directory is not there yet
		o.Reach = sessionControl{n}.reach
	}
	n.keys, err = idempotency.New(o)
	return err
}

// settleBeacons is how many beacons a node waits for others before it takes keys: a node
// that is there answers the first beacon with its own.
const settleBeacons = 3

func keyOptions(c *config.Config) idempotency.Options {
	i := &c.API.Idempotency
	return idempotency.Options{Window: i.Window, MaxKeys: i.MaxKeys, MaxBytes: int(i.MaxBytes)}
}

func (n *belfry) keyValues(limits map[string]uint64) metrics.Idempotency {
	var st idempotency.Stats
	if n.keys != nil { // nil in tests of the settings
		st = n.keys.Stats()
	}
	limits["api.idempotency.max_keys"] += st.OverKeys
	limits["api.idempotency.max_bytes"] += st.OverBytes
	return metrics.Idempotency{
		Keys: uint64(st.Known), Bytes: uint64(max(st.Bytes, 0)), Asked: st.Asked,
		Claims: map[string]uint64{"new": st.New, "replayed": st.Replayed, "in_progress": st.Progress, "reused": st.Other, "unavailable": st.Unavailable},
	}
}
