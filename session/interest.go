package session

import "belfry/poller"

// Interest is told which topics and users this node holds, so that a bus can
// subscribe to them and to no others. Shards call it on their own goroutines:
// no method may block. The byte slices are borrowed until the call returns.
type Interest interface {
	// JoinUser counts one more session of uid on this node. It returns true
	// if messages for uid already reach this node (or the bus is cut off and
	// nothing can be waited for); otherwise w.UserReady(token) is called once
	// later, from another goroutine, when they do.
	JoinUser(uid []byte, w Waiter, token uint64) (ready bool)
	// LeaveUser takes one such session away.
	LeaveUser(uid []byte)
	// JoinTopic says that one more shard has a subscriber of topic. Its
	// result and w.TopicReady(token) are as with JoinUser.
	JoinTopic(topic []byte, w Waiter, token uint64) (ready bool)
	// LeaveTopic says that one shard fewer has subscribers of topic. A token
	// still waiting for it may or may not be called afterwards.
	LeaveTopic(topic []byte)
}

// Waiter is a shard that waits for subscriptions. Its methods may be called
// from any goroutine and never block; false means that the shard's mailbox
// was full and the call is to be repeated a little later.
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

// noInterest serves a node without a bus: everything is ready at once.
type noInterest struct{}

func (noInterest) JoinUser([]byte, Waiter, uint64) bool  { return true }
func (noInterest) LeaveUser([]byte)                      {}
func (noInterest) JoinTopic([]byte, Waiter, uint64) bool { return true }
func (noInterest) LeaveTopic([]byte)                     {}
