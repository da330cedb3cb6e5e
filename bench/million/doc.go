// Package million makes a million live WebSocket connections on one host and
// measures fan-outs to all of them: the floor and belfry in the same shape,
// one after the other.
//
// A run has three passes. In the floor's and in belfry's first the population
// grows in steps, each with its fan-outs, so that the cost of a delivery can
// be drawn against the number of connections; belfry sends no pings then, as
// the floor never does. In the third pass belfry's sessions do nothing but
// answer pings: memory as they arrive, processor time as they wait, memory
// after they have left.
//
// Where one process may hold every connection, that is one node on many
// ports. Where it may not, it is a cluster of nodes on this one host, with one
// NATS server between them, in the first node: a mesh of embedded servers
// would be thousands of routes.
//
// Like package bench, it knows belfry by its flags, its HTTP API and /proc.
package million
