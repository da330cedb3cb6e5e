// Package ws is RFC 6455 (WebSocket) and RFC 7692 (permessage-deflate) as
// functions over bytes, for the server's side.
//
//   - The opening handshake: [Parser] reads a request, a [Request] answers
//     questions about it and accepts it, a [Refusal] answers it with an error,
//     [Origins] decides which web pages may connect.
//   - Frames: [Next] reads what a client sends, with an [Inbound] for a message
//     that arrives in pieces; [AppendFrame] and [AppendClose] write.
//   - Compression: a [Deflater] makes frames, an [Inflater] reads messages. No
//     context is kept from one message to the next.
//   - Proxies: [ParsePROXY] and [ForwardedClient] find the client's address.
//
// The package owns no socket, starts no goroutine and does not read the clock.
// Callers bring the bytes that have arrived so far, and the result is the same
// however these bytes were split. Package conformance checks a server with the
// cases of the Autobahn test suite.
//
// Client frames must be masked, and server frames are not. Payloads and values
// that the package returns lie in most cases in the bytes it was given, where
// it unmasks them; each function says how long they are valid. An error text
// never repeats a client's bytes unquoted.
package ws
