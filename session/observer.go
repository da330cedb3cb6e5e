package session

import "time"

// Observer is told of the sessions that are open and of their subscriptions, so that
// others can keep a table of them. Functions that are nil are not called, and cost
// nothing. The others are called on the goroutine of the session's shard and must not
// block; a panic is caught and logged. For one session the calls come in order: Opened,
// then Subscribed and Unsubscribed, then Closed. The subscriptions that a session has
// when it opens are told after Opened; those that end with it are not told.
type Observer struct {
	Opened                   func(c *Client)
	Subscribed, Unsubscribed func(c *Client, topic string)
	// Closed is called with the time since Opened, in whole seconds.
	Closed func(c *Client, r Reason, lasted time.Duration)
}

// watches reports whether subscriptions are told.
func (o *Observer) watches() bool { return o.Subscribed != nil || o.Unsubscribed != nil }

// watch tells Options.Observer and Options.TopicWatcher about a shard's sessions. Owned
// by the shard.
type watch struct {
	env
	clients *clients
	topics  *topics
}

// opened tells that a session is open, and what it is subscribed to.
func (w *watch) opened(slot uint32, rec *record) {
	o := &w.opt.Observer
	if o.Opened != nil {
		w.tell(slot, o.Opened)
	}
	if o.Subscribed == nil && !w.watchesTopics() {
		return
	}
	for _, topic := range w.topics.of(rec) {
		if o.Subscribed != nil {
			w.tell(slot, func(c *Client) { o.Subscribed(c, topic) })
		}
		w.topicJoined(slot, rec, topic)
	}
}

// closed tells that a session has ended. It is called while the session still has its
// user.
func (w *watch) closed(slot uint32, rec *record) {
	if o := &w.opt.Observer; o.Closed != nil && rec.openedAt != 0 {
		lasted := time.Duration(max(unixNow(), rec.openedAt)-rec.openedAt) * time.Second
		w.tell(slot, func(c *Client) { o.Closed(c, rec.reason, lasted) })
	}
	if w.watchesTopics() && rec.openedAt != 0 {
		for _, topic := range w.topics.of(rec) {
			w.topicLeft(slot, rec, topic)
		}
	}
}

// joined tells that a subscription of an open session has begun.
func (w *watch) joined(slot uint32, rec *record, topic string) {
	if o := &w.opt.Observer; o.Subscribed != nil && rec.openedAt != 0 {
		w.tell(slot, func(c *Client) { o.Subscribed(c, topic) })
	}
	w.topicJoined(slot, rec, topic)
}

// left tells that one has ended.
func (w *watch) left(slot uint32, rec *record, topic []byte) {
	if o := &w.opt.Observer; o.Unsubscribed != nil && rec.openedAt != 0 {
		name := string(topic)
		w.tell(slot, func(c *Client) { o.Unsubscribed(c, name) })
	}
	if w.watchesTopics() {
		w.topicLeft(slot, rec, string(topic))
	}
}

// tell calls f, whose panic costs nothing.
func (w *watch) tell(slot uint32, f func(*Client)) {
	w.ps.Protect(0, func() { f(w.clients.of(slot)) })
}
