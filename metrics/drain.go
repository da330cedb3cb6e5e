package metrics

// Drain counts the sessions that are closed to move their clients to other nodes.
type Drain struct {
	Active    uint64            `metric:"belfry_drain_active" type:"gauge" help:"1 while the node is drained (POST /v1/drain) and not ready for that reason."`
	Total     uint64            `metric:"belfry_drain_sessions" type:"gauge" help:"Sessions when the drain began; 0 without one. belfry_sessions are left."`
	Rate      uint64            `metric:"belfry_drain_rate" type:"gauge" help:"Sessions that the drain closes in any second, at most; 0 without one."`
	ETA       float64           `metric:"belfry_drain_eta_seconds" type:"gauge" help:"Time until the drain has closed all sessions, if none comes."`
	Balancing uint64            `metric:"belfry_rebalance_running" type:"gauge" help:"1 while the node sheds what it has more than the cluster's mean (cluster.rebalance)."`
	Shed      map[string]uint64 `metric:"belfry_sessions_shed_total" type:"counter" label:"reason" help:"Sessions closed at a pace whose clients were told to reconnect: drain, rebalance. Their connections are in belfry_closed_total when they have ended."`
}
