// Package idempotency remembers the Idempotency-Keys of pushes, so that a push that is
// sent again, to any node, is delivered once (draft-ietf-httpapi-idempotency-key-header).
//
// A request claims its key before anything is delivered. The key's home decides who gets
// it: the home of the bucket of the key's hash (cluster.Homes). Two nodes know each claim:
// the node of the request, and the home or, if that is the same node, the second home. So
// one node may die and no key is forgotten.
//
// For one window after a node came or went, a home may not know keys that were claimed
// before. Then the node of the request asks all nodes, and every one must answer that it
// does not know the key. Each of them remembers that it was asked, so that no two nodes
// that disagree about the home can both give the key away: at most both refuse.
//
// A claim whose home, or whose other nodes, do not answer in time is refused: nothing was
// delivered, and the request may be sent again. Keys are remembered in memory only.
package idempotency
