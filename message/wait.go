package message

import "time"

// Wait bounds how long a publisher waits for busy shards. With the zero Wait
// it does not wait.
type Wait struct {
	Time   time.Duration // for all shards of a message together
	Others int           // publishers that may wait for one shard; 1.5 × as many may wait for all shards; 0: no bound
	Gone   func() bool   // called after a wait: reports whether the publisher has gone away; nil: it never does
}
