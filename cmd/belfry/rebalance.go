package main

import (
	"context"
	"time"

	"go.uber.org/zap"

	"belfry/cluster"
	"belfry/pace"
	"belfry/session"
	"belfry/ticker"
)

// How cluster.rebalance decides; docs/operations.md has the figures.
const (
	rebalanceTolerance = 0.05
	rebalanceSettle    = 10 // beacons of the other nodes before a run
	rebalancePause     = 60 // behind it: clients come back meanwhile, and nodes say so
	maxRebalancePause  = time.Hour
	rebalanceEvery     = time.Second
)

// rebalance sheds what the node has more than the mean of the cluster, until ctx is done.
func (n *belfry) rebalance(ctx context.Context) {
	most := n.cfg.Cluster.Rebalance
	if most == 0 || n.directory == nil {
		return
	}
	beacon := n.cfg.NATS.Beacon
	b := &pace.Balance{Tolerance: rebalanceTolerance, Settle: rebalanceSettle * beacon, Pause: rebalancePause * beacon, MaxPause: max(maxRebalancePause, rebalancePause*beacon)}
	rate := pace.Under(most, n.cfg.Shards)
	ticks := ticker.New(rebalanceEvery)
	defer ticks.Stop()
	for begun := time.Now(); ; {
		select {
		case <-ticks.C:
		case <-ctx.Done():
			return
		}
		n.shedSurplus(ctx, b, time.Since(begun), rate)
	}
}

// shedSurplus closes what b allows in one tick.
func (n *belfry) shedSurplus(ctx context.Context, b *pace.Balance, now time.Duration, rate float64) {
	n.drain.turn.Lock() // a drain has the shards to itself
	defer n.drain.turn.Unlock()
	own, ran := n.sessions.Sessions(), b.Running()
	if n.stopping.Load() || n.drain.active.Load() {
		b.Stop(now)
	} else if k := b.Next(now, own, int(n.sessions.Shedded(session.ReasonRebalance)), otherLoads(n.directory.members.View()), max(int(rate*rebalanceEvery.Seconds()), 1)); k > 0 {
		timed, cancel := context.WithTimeout(ctx, orderTime)
		defer cancel()
		if err := n.sessions.Shed(timed, session.Shed{Reason: session.ReasonRebalance, Rate: max(rate, float64(k)), Most: k}); err != nil && ctx.Err() == nil {
			n.log.Warn("shards were not told in time to close sessions for cluster.rebalance", zap.Error(err))
		}
	}
	if n.balancing.Store(b.Running()); b.Running() != ran {
		n.log.Info("cluster.rebalance", zap.Bool("closes_sessions", b.Running()), zap.Int("sessions", own))
	}
}

// otherLoads returns how many sessions the other nodes have that stay.
func otherLoads(view []cluster.Member) (loads []uint64) {
	for _, m := range view {
		if !m.Self && !m.Draining && (m.State == cluster.Alive || m.State == cluster.Suspected) {
			loads = append(loads, m.Load)
		}
	}
	return loads
}
