// Package poller is the reactor of a node: sockets, bytes and timers. It knows
// nothing of WebSocket.
//
// A Loop has several Shards. A Shard is one goroutine with an epoll set, the
// connections in it, a timing wheel and a mailbox. It calls a Handler, which the
// user of the package writes. turn.go has one iteration of the event loop, and
// names its phases. A shard consists of these parts, each a type in a file of its
// name:
//
//   - conns: records of the connections, epoll set, closing
//   - acceptor: listeners
//   - receiver: reading, and accounts of the bytes that were not consumed
//   - sender: staged sends, and backlogs of connections that read slowly
//   - mailbox and inbox: what other goroutines post; outboxes: sockets that move
//   - timers: the clock and the wheel
//   - chunk: how long one kind of work may take
//   - guard: panics
//
// Caveats: Methods of a Shard may be called only within a call of its Handler,
// except where they say "any goroutine". A Handler must not block. Slices that it
// gets are valid until it returns. GOMAXPROCS should be at least Processors(shards).
package poller
