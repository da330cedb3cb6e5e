// Package message is what is pushed: a message with its target, the names of
// topics, users and sessions with the rules for them, and the errors that a
// publisher is told when a message is refused. Sessions, the bus and the HTTP
// API share it, so that none of them has to know another.
//
// A message must not be changed once it was published: frames are made of its
// payload later and on other goroutines. Names are checked at every door with
// the functions of this package, and nowhere else. A session id can be checked
// for its form by anybody, and for its truth only with the key of the node that
// made it.
package message
