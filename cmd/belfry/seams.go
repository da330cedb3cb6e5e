package main

import (
	"belfry/broadcast"
	"belfry/message"
	"belfry/session"
)

// Packages session and broadcast do not import each other; each has interfaces
// for what it needs. These types connect them.

// interest gives the sessions access to the bus.
type interest struct {
	*broadcast.Node
	directory *directory // nil: no other node can exist
	heir      *heir      // nil: this process has not taken over from another one
}

// JoinUser implements session.Interest. A session must not open before the user's home
// expects it, because pushes of other nodes come by the home.
func (i interest) JoinUser(uid []byte, w session.Waiter, token uint64) bool {
	ready := i.Node.JoinUser(uid, w, token)
	switch {
	case !ready || i.directory == nil:
		return ready
	case i.heir.waitsForBus(uid, w, token):
		return false
	}
	return i.directory.JoinUser(uid, w, token)
}

// JoinTopic implements session.Interest.
func (i interest) JoinTopic(topic []byte, w session.Waiter, token uint64) bool {
	return i.Node.JoinTopic(topic, w, token) && !i.heir.joinsTopic(topic, w, token)
}

// LeaveTopic implements session.Interest.
func (i interest) LeaveTopic(topic []byte) {
	i.Node.LeaveTopic(topic)
	i.heir.leaveTopic(topic)
}

// local gives the bus access to the sessions.
type local struct{ *session.Server }

// Prepare implements broadcast.Local.
func (l local) Prepare(m *message.Message) (broadcast.Prepared, error) {
	p, err := l.Server.Prepare(m)
	if err != nil {
		return nil, err // p is a nil pointer, which must not become an interface
	}
	return p, nil
}
