package main

import (
	"belfry/broadcast"
	"belfry/message"
	"belfry/session"
)

// The packages session and broadcast do not know each other: each has
// interfaces for what it needs of the other. These types join the two.

// interest is the bus as the sessions see it.
type interest struct{ *broadcast.Node }

// JoinUser implements session.Interest.
func (i interest) JoinUser(uid []byte, w session.Waiter, token uint64) bool {
	return i.Node.JoinUser(uid, w, token)
}

// JoinTopic implements session.Interest.
func (i interest) JoinTopic(topic []byte, w session.Waiter, token uint64) bool {
	return i.Node.JoinTopic(topic, w, token)
}

// local is the sessions as the bus sees them.
type local struct{ *session.Server }

// Prepare implements broadcast.Local.
func (l local) Prepare(m *message.Message) (broadcast.Prepared, error) {
	p, err := l.Server.Prepare(m)
	if err != nil {
		return nil, err // p is a nil pointer, which must not become an interface
	}
	return p, nil
}
