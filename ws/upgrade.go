package ws

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"hash/maphash"
	"math/bits"
	"slices"
)

const keyLen = 24 // base64 of the 16 bytes of Sec-WebSocket-Key

// CheckUpgrade returns nil if the request is a client's opening handshake by the
// rules of RFC 6455 §4.2.1, and the refusal otherwise.
func (r *Request) CheckUpgrade() *Refusal {
	wrong := func(detail string) *Refusal { return BadRequest(detail).WithCause(CauseUpgrade) }
	upgrade, connection, extensions := r.known[fieldUpgrade], r.known[fieldConnection], r.known[fieldExtensions]
	switch {
	case upgrade.count == 0:
		return &Refusal{Status: 426, Cause: CauseUpgrade, Detail: "this is a WebSocket endpoint; the field Upgrade is missing" + removedByProxy}
	case upgrade.malformed:
		return wrong("the field Upgrade is not a list of protocols")
	case !upgrade.found:
		return wrong("the field Upgrade is not websocket")
	case connection.malformed:
		return wrong("the field Connection is not a list of tokens")
	case !connection.found:
		return wrong("the field Connection does not list Upgrade" + removedByProxy)
	case string(r.bytes(r.known[fieldVersion].value)) != "13":
		return &Refusal{Status: 426, Cause: CauseUpgrade, Detail: "the field Sec-WebSocket-Version is not 13"}
	case extensions.count > 0 && (extensions.malformed || !extensions.found):
		return wrong("the field Sec-WebSocket-Extensions is not a list of extensions (RFC 6455 §9.1)")
	}
	key := r.bytes(r.known[fieldKey].value)
	var raw [keyLen]byte
	if len(key) != keyLen {
		return wrong("the field Sec-WebSocket-Key is not 16 bytes in base64")
	}
	if n, err := base64.StdEncoding.Decode(raw[:], key); err != nil || n != 16 {
		return wrong("the field Sec-WebSocket-Key is not 16 bytes in base64")
	}
	return nil
}

// removedByProxy is the advice for a missing field that proxies do not forward by
// default (RFC 9110 §7.6.1).
const removedByProxy = " (a proxy may have removed it; nginx: proxy_http_version 1.1, proxy_set_header Upgrade $http_upgrade and proxy_set_header Connection upgrade)"

// ChooseSubprotocol chooses the first subprotocol in the client's list that is
// one of supported, "" if there is none; AppendAccept then names it. It refuses a
// list with a member that is empty, is not a token or is repeated (RFC 6455
// §4.1): the permission of RFC 9110 §5.6.1 for empty members does not apply.
func (r *Request) ChooseSubprotocol(supported []string) (chosen string, refusal *Refusal) {
	for _, offer := range r.offers {
		name := r.bytes(offer)
		if !isToken(name) {
			return "", BadRequest("the field Sec-WebSocket-Protocol is not a list of tokens").WithCause(CauseUpgrade)
		}
		for _, sub := range supported {
			if r.subprotocol == "" && string(name) == sub {
				r.subprotocol = sub
			}
		}
	}
	if r.isRepeated() {
		return "", BadRequest("the field Sec-WebSocket-Protocol is not a list of different tokens: one is repeated").WithCause(CauseUpgrade)
	}
	return r.subprotocol, nil
}

// isRepeated returns whether a subprotocol is offered twice. Its hash table has a
// secret seed. Without it, with colliding names, or if each name were compared
// with each, one request could take milliseconds of a shard.
func (r *Request) isRepeated() bool {
	if len(r.offers) < 2 {
		return false
	}
	size := 1 << bits.Len(uint(2*len(r.offers)))
	r.seen = slices.Grow(r.seen[:0], size)[:size]
	clear(r.seen)
	for i, offer := range r.offers {
		name := r.bytes(offer)
		for at := maphash.Bytes(r.seed, name); ; at++ {
			earlier := &r.seen[at&uint64(size-1)]
			if *earlier == 0 {
				*earlier = uint32(i + 1)
				break
			}
			if bytes.Equal(r.bytes(r.offers[*earlier-1]), name) {
				return true
			}
		}
	}
	return false
}

// AppendAccept appends the response with status 101 (RFC 6455 §4.2.2). It names
// the subprotocol and the extension that were chosen. An extension that it does
// not name is declined; an empty field would confuse some clients.
func (r *Request) AppendAccept(dst []byte) []byte {
	const guid = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
	var nonce [keyLen + len(guid)]byte
	copy(nonce[:], r.bytes(r.known[fieldKey].value))
	copy(nonce[keyLen:], guid)
	sum := sha1.Sum(nonce[:])
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "...)
	dst = base64.StdEncoding.AppendEncode(dst, sum[:])
	if r.subprotocol != "" {
		dst = append(dst, "\r\nSec-WebSocket-Protocol: "...)
		dst = append(dst, r.subprotocol...)
	}
	if r.extension != "" {
		dst = append(dst, "\r\nSec-WebSocket-Extensions: "...)
		dst = append(dst, r.extension...)
	}
	return append(dst, "\r\n\r\n"...)
}
