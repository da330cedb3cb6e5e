// Package wire is the seam between sessions and the protocols that clients
// speak. It turns what the server says into bytes on a socket, and received
// bytes into what a client says. A protocol is two choices:
//
//   - a [Transport] carries payloads: it accepts a request, frames payloads,
//     pings and the end of a connection, and decodes input;
//   - an [Encoding] gives payloads a meaning: it writes messages, greetings and
//     answers, and reads the commands in a client's payload.
//
// A [Variant] is a transport with an encoding. A broadcast is encoded once for
// each variant that at least one client uses, and all clients of the variant
// get the same bytes. An [Endpoint] serves some paths and chooses the variant
// for a request.
//
// # Add an encoding
//
// Make a folder below this one with a type that implements [Encoding]: plain is
// the smallest, v1 has commands. If clients log in with their first message,
// implement [InBand] too; then the server needs a session.LoginAuthenticator.
//
//  1. Write what the server says to a [Writer]: build a payload in
//     [Writer.Buffer] and give it to [Writer.FrameBuffer], so that nothing is
//     allocated. Never keep a slice of a message or of an argument.
//  2. In Command, check everything that a client can send, and name the field
//     and the allowed values in the [CommandError]. One payload may have several
//     commands: return what follows the first one as rest.
//  3. Register the encoding in cmd/belfry/endpoints.go: a subprotocol selects it
//     for WebSocket (websocket.Options), its name for event streams
//     (sse.Options).
//  4. Copy the tests of v1: each object (v1_test.go), each error, a fuzz test and
//     the number of allocations of Command (command_test.go).
//  5. Describe it in docs/protocol.md.
//
// # Add a transport
//
// Make a folder with a type that implements [Transport], a [Decoder] and an
// [Endpoint] that chooses it: sse is the smallest, websocket the one with control
// frames. session/lengthprefixed_test.go has a complete protocol in one file:
// transport, decoder, encoding and endpoint.
//
//  1. If clients can only receive, return false from Answers, append nothing in
//     AppendPong and AppendCloseReply, and discard input in the decoder.
//  2. In the decoder, give out a message that lies complete in p without a copy,
//     and collect any other message with ws.Inbound.Begin and Take, which count
//     its bytes against the limits of the session and the node.
//  3. In Choose, check everything that the protocol requires of a request.
//     ws.Request.CheckUpgrade is only for WebSocket. Origins, users, topics and
//     limits are checked by package session.
//  4. Register the endpoint in cmd/belfry/endpoints.go. Add a setting for its path
//     (docs/contributing.md), which must differ from all other paths.
//  5. Copy the tests of sse: the answers (transport_test.go), a reader of the
//     format and a fuzz test that cuts the bytes everywhere (event_test.go). A
//     decoder needs the test of splits in ws/decoder_test.go and a fuzz test like
//     ws/decoder_fuzz_test.go. session/sse_test.go tests a transport with
//     sessions and real sockets.
//  6. Describe it in docs/protocol.md, and its limits in docs/security.md.
//
// Nothing in package session changes for either. Labels in metrics and logs come
// from Name. If a protocol needs an operation that the interfaces do not have,
// add it here, implement it in every folder and say in docs/adr/ why.
//
// # Rules
//
// Every shard and every goroutine that publishes calls these interfaces at the
// same time, so implementations hold no state of a connection and nothing that
// changes without a lock. The exception is a [Decoder]: each shard has its own.
// All slices in arguments are borrowed: they are valid only during the call,
// unless the method says otherwise. Nothing may block. A panic costs one message
// or one connection. A server can have at most 256 variants.
package wire
