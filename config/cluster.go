package config

import (
	"slices"
	"strings"
	"time"
)

// Cluster is the section cluster.
type Cluster struct {
	MaxSessions int `yaml:"max_sessions" range:"1..268435456" zero:"four times max_connections" doc:"Sessions of users that this node remembers in a cluster: its own, and those that it keeps for other nodes, about as many. Each takes some 82 bytes when one is remembered. Beyond it sessions are not found by other nodes: answers about their users name the node as silent (docs/cluster.md)."`

	Rebalance int `yaml:"rebalance" range:"1..100000" zero:"off" doc:"Sessions per second that a node closes while it has over 5 % more than the mean of the nodes that neither drain nor shut down (after scaling out): 1001, and the clients are told to reconnect. It stops by itself at the mean. Useful behind a load balancer that sends new connections to the node with the fewest, or to all in turn (docs/operations.md)."`

	Events      []string      `yaml:"events" zero:"none" doc:"What is published on belfry.events.> for NATS clients (docs/events.md): opened, closed, subscribed, unsubscribed, online, offline."`
	EventsBytes Size          `yaml:"events_bytes" default:"16MiB" range:"64KiB..4GiB" doc:"Bytes of events that wait to be published; further events are dropped and counted."`
	EventsList  time.Duration `yaml:"events_list" default:"1m" range:"1s..1h" doc:"Time in which the users of all buckets are listed on belfry.events.users.>, if cluster.events has online."`
}

// eventKinds are the kinds of events, as package events has them.
var eventKinds = []string{"opened", "closed", "subscribed", "unsubscribed", "online", "offline"}

func (c *Config) checkCluster(k *checks) {
	for _, kind := range c.Cluster.Events {
		if !slices.Contains(eventKinds, kind) {
			k.fail("cluster.events", "%q; allowed are %s", kind, strings.Join(eventKinds, ", "))
		}
	}
}
