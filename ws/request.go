package ws

import (
	"bytes"
	"hash/maphash"
	"slices"
)

// Request is the request with which a client connects, read and found right as
// far as HTTP goes. It belongs to the Parser that made it: it and every slice it gives out are valid until
// the next Parse. Clone makes one that lasts. One goroutine at a time.
type Request struct {
	head        []byte  // everything up to and with the blank line
	fields      []field // of the header, in their order
	host        span
	query       span
	path        []byte // percent-decoded
	decoded     []byte // where percent-decoded bytes are; only grows, so earlier results stay
	known       [knownCount]knownField
	subprotocol string
	extension   string // the answer to what was offered; "" if nothing was accepted

	// For ChooseSubprotocol.
	offers []span   // members of Sec-WebSocket-Protocol
	seen   []uint32 // hash table of offers, their index + 1
	seed   maphash.Seed
}

// span is a part of Request.head.
type span struct{ from, to uint32 }

type field struct{ name, value span }

func (r *Request) bytes(s span) []byte { return r.head[s.from:s.to:s.to] }

// Path returns the path that was asked for, percent-decoded.
func (r *Request) Path() []byte { return r.path }

// RawQuery returns what follows the "?" as it was sent, empty if nothing did.
func (r *Request) RawQuery() []byte { return r.bytes(r.query) }

// Host returns the host and port that the client meant to reach: the Host
// field, or the target's if that was a whole URI (RFC 9112 §3.2.2).
func (r *Request) Host() []byte { return r.bytes(r.host) }

// Origin returns the Origin field, empty if there was none.
func (r *Request) Origin() []byte { return r.bytes(r.known[fieldOrigin].value) }

// Subprotocol returns the negotiated subprotocol, "" if none.
func (r *Request) Subprotocol() string { return r.subprotocol }

// Deflate says whether permessage-deflate was negotiated.
func (r *Request) Deflate() bool { return r.extension != "" }

// Header returns the first field of that name, whatever its case, and nil if
// there is none.
func (r *Request) Header(name string) []byte {
	for i := range r.fields {
		if f := &r.fields[i]; equalFold(r.bytes(f.name), name) {
			return r.bytes(f.value)
		}
	}
	return nil
}

// HeaderAll calls fn with each field of that name, in order, until fn returns
// false.
func (r *Request) HeaderAll(name string, fn func(value []byte) bool) {
	for i := range r.fields {
		if f := &r.fields[i]; equalFold(r.bytes(f.name), name) && !fn(r.bytes(f.value)) {
			return
		}
	}
}

// Query returns the first value of key in the query, decoded, and whether the
// key is there at all.
func (r *Request) Query(key string) (value []byte, ok bool) {
	r.QueryAll(key, func(v []byte) bool {
		value, ok = v, true
		return false
	})
	return value, ok
}

// QueryAll calls fn with each value of key in the query, decoded, in order,
// until fn returns false. Keys and values are those of a form
// (application/x-www-form-urlencoded: "+" is a space), which is what
// URLSearchParams in a browser writes.
func (r *Request) QueryAll(key string, fn func(value []byte) bool) {
	r.QueryEach(func(k, value []byte) bool { return string(k) != key || fn(value) })
}

// QueryEach calls fn with each parameter of the query, decoded, in order,
// until fn returns false.
func (r *Request) QueryEach(fn func(key, value []byte) bool) {
	rest := r.RawQuery()
	for len(rest) > 0 {
		var pair []byte
		if pair, rest, _ = bytes.Cut(rest, []byte("&")); len(pair) == 0 {
			continue
		}
		key, value, _ := bytes.Cut(pair, []byte("="))
		if !fn(r.decode(key, true), r.decode(value, true)) {
			return
		}
	}
}

// Clone returns a copy that does not end with the next Parse.
func (r *Request) Clone() *Request {
	c := *r
	c.head = bytes.Clone(r.head)
	c.fields = slices.Clone(r.fields)
	c.path = bytes.Clone(r.path)
	c.decoded, c.offers, c.seen = nil, nil, nil
	return &c
}

// decode returns p percent-decoded: p itself if there is nothing to decode.
// The escapes were checked by checkEscapes when the request was parsed.
func (r *Request) decode(p []byte, form bool) []byte {
	if bytes.IndexByte(p, '%') < 0 && !(form && bytes.IndexByte(p, '+') >= 0) {
		return p
	}
	start := len(r.decoded)
	for i := 0; i < len(p); i++ {
		switch c := p[i]; {
		case c == '%':
			r.decoded = append(r.decoded, unhex(p[i+1])<<4|unhex(p[i+2]))
			i += 2
		case c == '+' && form:
			r.decoded = append(r.decoded, ' ')
		default:
			r.decoded = append(r.decoded, c)
		}
	}
	return r.decoded[start:len(r.decoded):len(r.decoded)]
}

// checkEscapes says whether each "%" in p is followed by two hex digits.
func checkEscapes(p []byte) bool {
	for i := 0; i < len(p); i++ {
		if p[i] != '%' {
			continue
		}
		if i+2 >= len(p) || !isHex(p[i+1]) || !isHex(p[i+2]) {
			return false
		}
		i += 2
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c >= 'a' && c <= 'f' || c >= 'A' && c <= 'F'
}

// unhex returns the value of a hex digit.
func unhex(c byte) byte {
	if c <= '9' {
		return c - '0'
	}
	return c&^0x20 - 'A' + 10
}

// equalFold compares ASCII without regard to case. Other than
// bytes.EqualFold it has no Unicode folding, in which the Kelvin sign is a k.
func equalFold[A, B string | []byte](a A, b B) bool {
	if len(a) != len(b) {
		return false
	}
	for i := 0; i < len(a); i++ {
		if lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c | 0x20
	}
	return c
}
