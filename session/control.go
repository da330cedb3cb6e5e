package session

import (
	"context"
	"fmt"
	"unicode/utf8"

	"belfry/message"
	"belfry/wire"
	"belfry/ws"
)

// Selection are sessions of this node: the one with an id, or, without an id, those of
// a user.
type Selection struct{ SID, UID string }

// onSelection has a call made for the sessions of a selection that are open.
func (s *Server) onSelection(ctx context.Context, sel Selection, c call) (met int, err error) {
	open := func(h *shard, slot uint32) bool { return h.isOpen(slot) && c(h, slot) }
	if sel.SID == "" {
		return s.onUser(ctx, sel.UID, open)
	}
	one, err := s.onSession(ctx, sel.SID, open)
	if one {
		met = 1
	}
	return met, err
}

// The methods below are Close, Subscribe and Unsubscribe for callers that want to know
// how many open sessions were met. They wait for the shard of the sessions. After an
// error of ctx it may be done all the same. A session that opens later is not concerned.
// Any goroutine but a shard's.

// End ends sessions with a close code of the caller's, as Close does.
func (s *Server) End(ctx context.Context, sel Selection, code uint16, text string) (int, error) {
	if err := CheckClose(code, text); err != nil {
		return 0, err
	}
	return s.onSelection(ctx, sel, func(h *shard, slot uint32) bool {
		h.closeAs(slot, code, text)
		return true
	})
}

// Join subscribes sessions to a topic, which needs no permission. joined are those that
// are subscribed to it now, full those that could not be: they have as many topics as
// they may, or the shard's tables are full.
func (s *Server) Join(ctx context.Context, sel Selection, topic string) (joined, full int, err error) {
	if err := message.CheckTopic(topic); err != nil {
		return 0, 0, err
	}
	failed := 0
	joined, err = s.onSelection(ctx, sel, func(h *shard, slot uint32) bool {
		if h.subscribe(slot, topic) {
			return true
		}
		failed++
		return false
	})
	if err != nil {
		return 0, 0, err // the shard may still write failed
	}
	return joined, failed, nil
}

// Leave ends the subscriptions of sessions to a topic, and tells their clients. It
// returns how many were subscribed to it.
func (s *Server) Leave(ctx context.Context, sel Selection, topic string) (int, error) {
	if err := message.CheckTopic(topic); err != nil {
		return 0, err
	}
	topics := []string{topic}
	return s.onSelection(ctx, sel, func(h *shard, slot uint32) bool { return h.unsubscribe(slot, topics) > 0 })
}

// subscribe subscribes an open session to a topic. It returns false, and counts why, if
// there is no room.
func (h *shard) subscribe(slot uint32, topic string) bool {
	rec := h.rec(slot)
	if int(rec.count) >= h.grants.maxTopics(rec) && !h.topics.has(rec, topic) {
		h.counters.limit(limitTopics)
		return false
	}
	t, _, err := h.topics.join(slot, rec, topic)
	if err != nil {
		h.counters.limit(limitMemory)
		return false
	}
	h.topics.permitBy(rec, t, permitGranted)
	return true
}

// unsubscribe ends subscriptions of an open session, tells its client, and returns how
// many there were.
func (h *shard) unsubscribe(slot uint32, topics []string) int {
	rec := h.rec(slot)
	var left []string
	for _, topic := range topics {
		t, ok := h.topics.find(topic)
		if !ok {
			continue
		}
		if _, member := h.topics.member(rec, t); member {
			h.topics.leave(rec, t)
			left = append(left, topic)
		}
	}
	h.commands.wake() // sub commands that waited for one of the topics
	if len(left) > 0 {
		h.answers.reply(slot, &wire.Reply{Left: left})
	}
	return len(left)
}

// closeAs ends an open session for a backend.
func (h *shard) closeAs(slot uint32, code uint16, text string) {
	back := code == ws.CloseGoingAway || code == ws.CloseInternalError || code == ws.CloseTryAgainLater
	h.closer.endAs(slot, ReasonBackend, wire.Close{Code: code, Text: text, Reconnect: back})
}

// MayClose says whether Server.Close takes a close code.
func MayClose(code uint16) bool { return ws.ApplicationMayClose(code) }

// CheckClose returns a *message.FieldError for the field code or reason if a session
// cannot be closed with them.
func CheckClose(code uint16, reason string) error {
	if !MayClose(code) {
		return &message.FieldError{Field: "code", Detail: fmt.Sprintf("%d; allowed are 1000, 1001, 1008, 1011, 1013 and 3000 to 4999", code)}
	}
	if !utf8.ValidString(reason) {
		return &message.FieldError{Field: "reason", Detail: "not valid UTF-8"}
	}
	return nil
}
