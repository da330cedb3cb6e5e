// Package bridge stands between clients and shards where bytes cannot go straight
// from a socket to a shard: it serves TLS. A shard holds one end of a
// socketpair(2) and sees a connection like any other. The other end and the client's
// socket are the bridge's. It encrypts and decrypts on goroutines of its own, so no
// shard waits for that, and clients without TLS pay nothing for it.
//
// A connection has its handshake on a goroutine of its own. It goes to a shard when
// the first bytes of its request have arrived.
//
// From then on a connection has two directions and no goroutine. An epoll instance
// (poll) says which directions have something to read. These queue up for a few
// goroutines (workers). A worker that must wait for a slow client or a slow shard
// stays with that direction, and another one takes its place.
//
// # Processors
//
// What a TLS connection computes could take all processors from the shards: in a
// storm of handshakes, or when a message goes to thousands of TLS clients. So at
// most Options.Workers goroutines compute at a time (gate); the others wait in a
// fair queue, in which few handshakes are ahead of a worker. Nobody holds a place in the gate while waiting for a socket.
//
// # Slow clients
//
// The pair's buffers are small (pairBuffer). A client that reads slowly makes its
// direction stop reading the pair; then the pair is full, and what further messages
// wait for is the shard's backlog with its limits. A shard that does not read makes
// a client wait in the same way.
//
// # Kernel TLS
//
// Server.place is the one function that decides what becomes of a connection after
// its handshake. With TLS in the kernel (TCP_ULP) it would hand the keys to the
// kernel and the client's own descriptor to the shard.
package bridge
