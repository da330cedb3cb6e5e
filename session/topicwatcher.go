package session

import (
	"fmt"

	"belfry/message"
)

// TopicWatcher is told who is subscribed to topics: of each open session that subscribes
// to a topic, and of each that leaves it or ends. Its methods are called on shards and
// must not block; a panic is caught and logged. uid is "" for a session without a user.
// A session that logs in leaves its topics, and subscribes to them with its new id.
type TopicWatcher interface {
	Joined(topic, sid, uid string)
	Left(topic, sid, uid string)
}

// compileJoinLeave compiles Options.JoinLeave. It returns nil if there are no patterns.
func compileJoinLeave(patterns []string) (*message.Patterns, error) {
	if len(patterns) == 0 {
		return nil, nil
	}
	p, err := message.CompilePatterns(patterns)
	if err == nil && p.ForUsers() {
		err = &message.FieldError{Field: "JoinLeave", Detail: fmt.Sprintf("%q; allowed are patterns without {uid}", patterns)}
	}
	return p, message.Renamed(err, "JoinLeave")
}

// watchesTopics says whether somebody is told of some topics.
func (w *watch) watchesTopics() bool { return w.srv.joinLeave != nil && w.opt.TopicWatcher != nil }

// topicJoined tells that an open session is subscribed to a topic.
func (w *watch) topicJoined(slot uint32, rec *record, topic string) {
	if w.watchesTopics() && rec.openedAt != 0 && w.srv.joinLeave.Match(topic, "") {
		w.ps.Protect(0, func() { w.opt.TopicWatcher.Joined(topic, w.session(slot), string(w.clients.users.uid(rec))) })
	}
}

// topicLeft tells that it is not any more.
func (w *watch) topicLeft(slot uint32, rec *record, topic string) {
	if w.watchesTopics() && rec.openedAt != 0 && w.srv.joinLeave.Match(topic, "") {
		w.ps.Protect(0, func() { w.opt.TopicWatcher.Left(topic, w.session(slot), string(w.clients.users.uid(rec))) })
	}
}
