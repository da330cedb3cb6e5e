package config

// Cluster is the section cluster.
type Cluster struct {
	MaxSessions int `yaml:"max_sessions" range:"1..268435456" zero:"four times max_connections" doc:"Sessions of users that this node remembers in a cluster: its own, and those that it keeps for other nodes, about as many. Each takes some 82 bytes when one is remembered. Beyond it sessions are not found by other nodes: answers about their users name the node as silent (docs/cluster.md)."`
}
