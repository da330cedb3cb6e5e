package poller

import "sync/atomic"

// nodeInput counts the bytes of clients' input that the node holds, against their
// limit. All shards use it.
type nodeInput struct {
	limit  int64        // Options.InboundBytes
	held   atomic.Int64 // bytes
	shards []*accounts  // of all shards; set before they start
}

// inboundReserve: the shard with the largest account must leave one part in so
// many of the limit to the other shards. Otherwise a shard whose connections
// all hold little would have to close one of them for what other shards hold.
const inboundReserve = 16

func (n *nodeInput) add(bytes int) { n.held.Add(int64(bytes)) }

// share returns how many bytes the node may hold when the shard with the
// largest account asks for more.
func (n *nodeInput) share() int64 {
	if len(n.shards) == 1 {
		return n.limit
	}
	return n.limit - n.limit/inboundReserve
}

// isTop says whether no shard has an account of a higher class than top (see
// accountClasses.top).
func (n *nodeInput) isTop(top int32) bool {
	for _, x := range n.shards {
		if x.classes.top.Load() > top {
			return false
		}
	}
	return true
}
