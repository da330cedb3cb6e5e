// Package million makes a million live WebSocket connections on one host and
// measures fan-outs to all of them: first with the floor, then with belfry,
// with the same number of processes.
//
// A run has three parts. In the first two, with the floor and with belfry, the
// number of connections grows in steps with fan-outs at each, so that the cost
// of a delivery can be drawn against the number of connections. belfry sends no
// pings then, because the floor sends none. In the third part belfry's sessions
// only answer pings. It measures memory while they connect, processor time
// while they are idle, and memory after they have left.
//
// If one process may hold all connections, there is one node with many ports.
// If not, there is a cluster of nodes on this host with one NATS server, in the
// first node, because a mesh of embedded servers would need thousands of
// routes.
//
// Like package bench, it uses only belfry's flags, its HTTP API and /proc.
package million
