// Package handover is a hot restart: a process hands its clients' sockets, their
// sessions and the state of its node to a process that replaces it. The one that
// serves is called old, the other one is its successor. docs/handover.md has the
// protocol.
//
// The two talk over unix stream sockets. The control connection carries the course of
// the hand-over and what sessions in the successor need of the bus. Beside it there is
// one stream for each shard, in which batches of sessions and the messages that go to
// them are in order. Both carry frames (frame.go); descriptors travel beside the bytes
// (SCM_RIGHTS, man 7 unix).
//
// The old process decides. Until it has heard that the successor serves, it can take
// everything back (abort.go). Every step of both sides has a name (step.go), and tests
// stop, kill or refuse at each of them.
//
// Lock order: transfer.mu, then stream.mu. Nothing waits under either.
package handover
