package message

import "time"

// Wait bounds how long a publisher waits for receivers that are behind. With
// the zero Wait it does not wait.
type Wait struct {
	Time   time.Duration // at most, for all receivers of a message together
	Others int           // how many publishers may wait for one shard, and 1.5 × as many for all; 0: no bound
	Gone   func() bool   // says after a wait whether the publisher has gone away; nil: never
}
