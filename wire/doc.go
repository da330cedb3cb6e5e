// Package wire turns what the server says into bytes on a socket, and bytes
// into what clients say. A protocol is two choices:
//
//   - a [Transport] carries payloads: how a request is accepted, how a payload,
//     a ping and the end of a connection are framed, how input is decoded;
//   - an [Encoding] gives payloads a meaning: what a message, a greeting or an
//     answer looks like, and which commands a client's payload holds.
//
// A [Variant] is a transport with an encoding. A broadcast becomes bytes once
// for each variant that some client speaks. An [Endpoint] serves some paths and
// chooses the variant that a request asks for.
//
// A new protocol is a new folder below this one: an Endpoint that chooses, and
// a Transport, an Encoding or both. Nothing in package session changes;
// session/lengthprefixed_test.go is a whole one.
//
// Caveats: everything here is called from several goroutines at once and must
// hold no state of a connection, except a [Decoder], of which each shard has
// its own. A panic in it costs one message or one connection, never a lock.
package wire
