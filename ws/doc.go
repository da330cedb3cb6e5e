// Package ws is RFC 6455 and RFC 7692 as functions over bytes: the opening
// handshake with its refusals, origins and the addresses that proxies pass on;
// frames, masking, UTF-8, close codes and permessage-deflate. It owns no
// socket, starts no goroutine and keeps no clock: callers bring the bytes that
// have arrived, and every function gives the same result however they were
// split. Package conformance holds a server against the cases of the Autobahn
// test suite.
//
// It is the server's side only: frames that it writes are not masked, frames
// that it reads have to be. The only extension is permessage-deflate, always
// without context from one message to the next. What it returns mostly lies in
// the bytes that it was given, which it unmasks in place; each function says
// how long that is valid. Errors never repeat bytes of a client unquoted.
package ws
