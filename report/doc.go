// Package report says what became of a push: on each node, how many sessions the
// message was written to, queued for and dropped for, and which nodes did not say.
//
// A Reporter has two sides. For pushes of its own node it makes a Pending, which
// collects the reports of all nodes. For messages of other nodes it counts what becomes
// of them here, and tells their nodes.
package report
