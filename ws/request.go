package ws

import (
	"bytes"
	"hash/maphash"
	"slices"
)

// Request is a client's request, which follows the rules of HTTP. It belongs to
// the Parser that returned it: the Request and all slices from its methods are
// valid until the next Parse. Clone makes a copy that stays valid. One goroutine
// at a time may use it, because Query and its relatives write to a buffer.
type Request struct {
	head        []byte  // the request line and the header, with the empty line
	fields      []field // in the order of the header
	host        span
	query       span
	path        []byte // percent-decoded
	decoded     []byte // percent-decoded bytes; only grows, so earlier results stay valid
	known       [knownCount]knownField
	subprotocol string
	extension   string // the answer to what was offered; "" if nothing was accepted

	// For ChooseSubprotocol.
	offers []span   // members of Sec-WebSocket-Protocol
	seen   []uint32 // hash table of offers: their index + 1, 0 for a free place
	seed   maphash.Seed
}

// span is a part of Request.head, from the first index up to the second.
type span struct{ from, to uint32 }

type field struct{ name, value span }

func (r *Request) bytes(s span) []byte { return r.head[s.from:s.to:s.to] }

// Path returns the path of the request target, percent-decoded.
func (r *Request) Path() []byte { return r.path }

// RawQuery returns the query, without the "?" and not decoded; empty if there is
// none.
func (r *Request) RawQuery() []byte { return r.bytes(r.query) }

// Host returns the host and port that the client connects to: the field Host, or
// the host of the request target if that is a complete URI (RFC 9112 §3.2.2).
func (r *Request) Host() []byte { return r.bytes(r.host) }

// Origin returns the field Origin, empty if there is none.
func (r *Request) Origin() []byte { return r.bytes(r.known[fieldOrigin].value) }

// Subprotocol returns what ChooseSubprotocol has chosen, "" for none.
func (r *Request) Subprotocol() string { return r.subprotocol }

// Deflate returns whether NegotiateDeflate has accepted permessage-deflate.
func (r *Request) Deflate() bool { return r.extension != "" }

// Header returns the value of the first field with that name, in any case of
// letters, and nil if there is none.
func (r *Request) Header(name string) []byte {
	for i := range r.fields {
		if f := &r.fields[i]; equalFold(r.bytes(f.name), name) {
			return r.bytes(f.value)
		}
	}
	return nil
}

// HeaderAll calls fn with the value of each field with that name, in order,
// until fn returns false.
func (r *Request) HeaderAll(name string, fn func(value []byte) bool) {
	for i := range r.fields {
		if f := &r.fields[i]; equalFold(r.bytes(f.name), name) && !fn(r.bytes(f.value)) {
			return
		}
	}
}

// Query returns the first value of key in the query, decoded. ok is false if the
// query does not have the key.
func (r *Request) Query(key string) (value []byte, ok bool) {
	r.QueryAll(key, func(v []byte) bool {
		value, ok = v, true
		return false
	})
	return value, ok
}

// QueryAll calls fn with each value of key in the query, decoded, in order,
// until fn returns false. Keys and values are decoded as those of a form
// (application/x-www-form-urlencoded, in which "+" is a space), because
// URLSearchParams in a browser writes this form.
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

// Clone returns a copy that stays valid after the next Parse. ChooseSubprotocol
// is not for the copy, which has no list of subprotocols.
func (r *Request) Clone() *Request {
	c := *r
	c.head = bytes.Clone(r.head)
	c.fields = slices.Clone(r.fields)
	c.path = bytes.Clone(r.path)
	c.decoded, c.offers, c.seen = nil, nil, nil
	return &c
}

// decode returns p percent-decoded, or p itself if it has no escapes. It does
// not check the escapes: the Parser has done that.
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

// checkEscapes returns whether two hex digits follow each "%" in p.
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

// equalFold compares without regard to the case of ASCII letters. In contrast to
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
