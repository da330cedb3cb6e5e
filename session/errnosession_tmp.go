package session

import "errors"

// ErrNoSession says that a session id is none of this node's.
var ErrNoSession = errors.New("session: no session of this node has this id")
