package main

import (
	"context"
	"encoding/json"

	"belfry/presence"
)

// topicPresence answers clients who ask who is subscribed to a topic. It implements
// session.TopicPresence.
type topicPresence struct{ *belfry }

// topicAnswer is what a client gets. docs/protocol.md describes it.
type topicAnswer struct {
	Topic   string            `json:"topic"`
	Count   int               `json:"count"`
	Members []presence.Member `json:"members,omitempty"` // none if there are too many
	Partial bool              `json:"partial,omitempty"` // some nodes did not answer
}

// Ask implements session.TopicPresence. Each question has a goroutine while it waits;
// session.max_presence bounds them.
func (p topicPresence) Ask(topic string, answer func(data []byte, err error)) {
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), p.cfg.API.NodesWait)
		defer cancel()
		answer(p.ask(ctx, topic))
	}()
}

// ask counts first: to list the subscribers of a topic that has many is expensive.
func (p topicPresence) ask(ctx context.Context, topic string) ([]byte, error) {
	most := p.cfg.Session.PresenceMembers
	half, cancel := context.WithTimeout(ctx, p.cfg.API.NodesWait/2) // a node that is silent must leave time for the list
	defer cancel()
	t, err := p.presence.Topic(half, topic, false, "", 0)
	if err != nil {
		return nil, err
	}
	a := topicAnswer{Topic: topic, Count: t.Count, Partial: len(t.Silent) > 0}
	if t.Count > 0 && t.Count <= most {
		list, err := p.presence.Topic(ctx, topic, true, "", most)
		if err != nil {
			return nil, err
		}
		if list.Nodes >= t.Nodes && list.Count <= most && list.Next == "" { // else more have come, or a node has gone
			a.Count, a.Members = list.Count, list.Members
		}
	}
	return json.Marshal(a)
}
