package main

// ready returns the reasons why this node should get no traffic.
func (n *belfry) ready() (reasons []string) {
	if n.stopping.Load() {
		reasons = append(reasons, "shutting down")
	}
	if n.drain.active.Load() {
		reasons = append(reasons, "draining")
	}
	if err := n.bus.Ready(); err != nil {
		reasons = append(reasons, err.Error())
	}
	if reason := n.revocationsReady(); reason != "" {
		reasons = append(reasons, reason)
	}
	return append(reasons, n.healthy()...)
}

// degraded returns what does not work although the node is ready.
func (n *belfry) degraded() []string {
	reasons := n.bus.Degraded()
	if n.auth != nil {
		reasons = append(reasons, n.auth.Degraded()...)
	}
	if n.gateway != nil {
		reasons = append(reasons, n.gateway.Degraded()...)
	}
	return append(reasons, n.hooks.degraded()...)
}

// healthy returns the reasons to restart this process: a shard whose clock has
// stopped does not start again by itself.
func (n *belfry) healthy() []string {
	if age := n.sessions.Stats().Poller.TickAge; age > maxTickAge {
		return []string{"a shard does not run"}
	}
	return nil
}

// serves is the answer for load balancers at the client port. Shards call it
// for every request, so it only reads a variable.
func (n *belfry) serves() bool {
	return !n.stopping.Load() && !n.drain.active.Load() && n.sessions.Loop().TickAge().Seconds() <= maxTickAge
}

// maxTickAge is the largest age of a shard's last tick, in seconds.
const maxTickAge = 10
