package session

import "belfry/poller"

// Interest learns which topics and users the sessions of this node want, so that a
// bus can subscribe to them and to no others. Shards call it on their own
// goroutines: no method may block. The byte slices are valid until the call
// returns.
type Interest interface {
	// JoinUser counts one more session of uid on this node. It returns true if
	// messages for uid reach this node already, or if the bus is cut off and
	// waiting is useless. Otherwise w.UserReady(token) is called once, later, from
	// another goroutine, when they do.
	JoinUser(uid []byte, w Waiter, token uint64) (ready bool)
	// LeaveUser counts one session of uid less.
	LeaveUser(uid []byte)
	// JoinTopic counts one more shard that has a subscriber of topic. The result
	// and w.TopicReady(token) are as with JoinUser.
	JoinTopic(topic []byte, w Waiter, token uint64) (ready bool)
	// LeaveTopic counts one shard less that has subscribers of topic. TopicReady
	// may still be called for a token that waits.
	LeaveTopic(topic []byte)
}

// Waiter is a shard that waits for subscriptions. Its methods may be called from
// any goroutine and never block. They return false if the shard's mailbox is full;
// the caller then repeats the call a little later.
type Waiter interface {
	UserReady(token uint64) bool
	TopicReady(token uint64) bool
}

// UserReady implements Waiter. Any goroutine.
func (h *shard) UserReady(token uint64) bool {
	return h.ps.Post(poller.QueueControl, poller.Mail{Kind: mailUserReady, ID: token})
}

// TopicReady implements Waiter. Any goroutine.
func (h *shard) TopicReady(token uint64) bool {
	return h.ps.Post(poller.QueueControl, poller.Mail{Kind: mailTopicReady, ID: token})
}

// noInterest is the Interest of a node without a bus: everything is ready at once.
type noInterest struct{}

func (noInterest) JoinUser([]byte, Waiter, uint64) bool  { return true }
func (noInterest) LeaveUser([]byte)                      {}
func (noInterest) JoinTopic([]byte, Waiter, uint64) bool { return true }
func (noInterest) LeaveTopic([]byte)                     {}
