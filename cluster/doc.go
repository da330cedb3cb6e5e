// Package cluster knows which nodes there are, and which of them hold the sessions
// of a user.
//
// Members has the nodes and their states: alive, suspected, leaving, gone. It lives
// on the beacons that package broadcast publishes anyway.
//
// Each of the 4,096 user buckets has a home among the nodes (Homes), by rendezvous
// hashing: every node that knows the same members computes the same homes, and when
// a node comes or goes only its own buckets move.
//
// Directory is what this node tells homes about its own sessions, and what it knows
// as a home about those of others. A node (the holder) announces each session of a
// user to the home of the user's bucket. If it is the home itself, it announces the
// session to the second home, so that a node other than the holder knows of every
// session: when the holder dies, that node tells who watches (OnGone). The node to
// which a holder announces a bucket is the keeper of the bucket for that holder.
//
// What a keeper knows is soft state: it is gone with the process, and holders
// announce it again. For each bucket the holder and its keeper compare a digest now
// and then, and after everything that may have lost an announcement; a bucket that
// differs is announced anew as a whole. docs/cluster.md describes the protocol, adr
// 0018 why it is so.
//
// The home of a user keeps the Caps on the user's sessions: it has holders close what is
// too much, and gives places to sessions that are about to open.
//
// Everything goes through broadcast.Control, so that tests need no sockets.
//
// # Locks
//
// Directory.mu and Members.mu are held for bounded work in memory, never while
// anything waits. Members.mu is not held while another lock is taken. Functions that
// watch (Members.Watch, Directory.OnGone, Options.Evict) are called without a lock.
package cluster
