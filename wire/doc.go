// Package wire is the seam between sessions and the protocols that clients
// speak. It turns what the server says into bytes on a socket, and received
// bytes into what a client says. A protocol is two choices:
//
//   - a [Transport] carries payloads: it accepts a request, frames payloads,
//     pings and the end of a connection, and decodes input;
//   - an [Encoding] gives payloads a meaning: it writes messages, hello, bye and
//     replies, and reads the commands in a client's payload.
//
// A [Variant] is a transport with an encoding. A broadcast is encoded once for
// each variant that at least one client uses, and all clients of the variant
// get the same bytes. An [Endpoint] serves some paths and chooses the variant
// for a request. docs/contributing.md has the steps to add an encoding or a
// transport.
//
// # Rules
//
// Every shard and every goroutine that publishes calls these interfaces at the
// same time, so implementations hold no state of a connection and nothing that
// changes without a lock. The exception is a [Decoder]: each shard has its own.
// All slices in arguments are borrowed: they are valid only during the call,
// unless the method says otherwise. Nothing may block. A panic costs one message
// or one connection. A server can have at most 256 variants.
//
// Nothing in package session depends on one protocol: the labels in its metrics
// and logs come from Name. If a protocol needs an operation that the interfaces do
// not have, add it here, implement it in every folder and say in docs/adr/ why.
package wire
