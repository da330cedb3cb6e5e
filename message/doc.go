// Package message defines what is pushed: a message with its target, the rules
// for the names of topics, users and sessions, and the errors that a publisher
// gets when a message is refused. Sessions, the bus and the HTTP API share this
// package, so that they need not import each other.
//
// A message must not be changed after it was published: frames are built from
// its payload later and on other goroutines. Every input is checked with the
// functions of this package and with no others. Every node can check the form
// of a session id; only the node that made the id has the key to verify it.
package message
