package ws

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"hash/maphash"
	"math/bits"
	"slices"
	"strings"
)

// Limits of an opening handshake.
const (
	// DefaultMaxHead is the default of HandshakeOptions.MaxHead, in bytes.
	DefaultMaxHead = 8 << 10
	// MinMaxHead is the least that HandshakeOptions.MaxHead may be, in bytes.
	MinMaxHead = 512
	maxMaxHead = 1 << 20

	keyLen = 24 // base64 of the 16 bytes of Sec-WebSocket-Key
)

// HandshakeOptions say which handshakes are accepted.
type HandshakeOptions struct {
	MaxHead      int      // bytes of request line and header; 0: DefaultMaxHead; passed: 431, or 414 if the request line alone is longer
	Paths        []string // paths served, compared after percent-decoding; none: "/ws"; others: 404
	Subprotocols []string // spoken here; the first of the client's list that is among them is chosen
	Origins      *Origins // web pages that may connect; nil: those of the same host; others: 403

	// HealthPath is where load balancers ask whether the server is well: a
	// GET or HEAD of it, with whatever fields, gives a Refusal with Health
	// set. "": there is no such path.
	HealthPath string
}

// OptionError says which option is wrong.
type OptionError struct {
	Option  string // as configuration spells it: "max_head", "origins", …
	Problem string // what is wrong and what is allowed
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Problem }

// Handshaker reads opening handshakes. It reuses its buffers: one goroutine at
// a time, and one Request at a time. docs/adr/0010 says why it leaves nothing
// to a library.
type Handshaker struct {
	maxHead      int
	paths        []string
	served       string // paths for a 404
	subprotocols []string
	origins      *Origins
	req          Request
	known        [knownCount]knownField
	isGet        bool
	health       string   // HealthPath
	isOld        bool     // HTTP/1.0
	allFields    bool     // of req were read
	offers       []span   // members of Sec-WebSocket-Protocol
	seen         []uint32 // hash table of offers, their index + 1
	seed         maphash.Seed
}

// NewHandshaker returns a *OptionError if an option is out of its range.
func NewHandshaker(o HandshakeOptions) (*Handshaker, error) {
	h := &Handshaker{maxHead: o.MaxHead, paths: o.Paths, subprotocols: o.Subprotocols, origins: o.Origins, health: o.HealthPath, seed: maphash.MakeSeed()}
	if h.maxHead == 0 {
		h.maxHead = DefaultMaxHead
	}
	if h.maxHead < MinMaxHead || h.maxHead > maxMaxHead {
		return nil, &OptionError{"max_head", fmt.Sprintf("%d bytes; allowed are %d to %d", h.maxHead, MinMaxHead, maxMaxHead)}
	}
	if len(h.paths) == 0 {
		h.paths = []string{"/ws"}
	}
	for _, path := range h.paths {
		if !strings.HasPrefix(path, "/") {
			return nil, &OptionError{"paths", fmt.Sprintf("%q does not begin with a slash", path)}
		}
	}
	for _, sub := range h.subprotocols {
		if !isToken([]byte(sub)) {
			return nil, &OptionError{"subprotocols", fmt.Sprintf("%q is not a token", sub)}
		}
	}
	h.served = strings.Join(h.paths, ", ")
	return h, nil
}

// Parse reads the opening handshake at the start of p, which is all that was
// received so far. If the head is not all there it returns nil, 0, nil: call
// again with more bytes behind the same. Otherwise n is the length of the head
// (what follows is the client's first frames) and there is either a Request,
// valid until the next Parse, or a Refusal. A refusal that does not need the
// whole head comes with n 0. p is not kept.
//
// The result does not depend on how the bytes were split.
func (h *Handshaker) Parse(p []byte) (req *Request, n int, refusal *Refusal) {
	from, n, refusal := h.findHead(p)
	if n > 0 {
		refusal = h.read(p[from:n])
	}
	if refusal != nil {
		refusal.NoContent = bytes.HasPrefix(p[from:], []byte("HEAD "))
		return nil, n, refusal
	}
	if n == 0 {
		return nil, 0, nil
	}
	return &h.req, n, nil
}

// LastOrigin returns the Origin field of the head that was parsed last, which
// may have been refused, valid until the next Parse. Only if that head was
// whole.
func (h *Handshaker) LastOrigin() []byte { return h.req.bytes(h.known[fieldOrigin].value) }

// LastRequest returns the request that was parsed last, which may have been
// refused, if all of its fields were read: of some of them the last address in
// X-Forwarded-For may be one that the client made up. Valid as LastOrigin.
func (h *Handshaker) LastRequest() *Request {
	if !h.allFields {
		return nil
	}
	return &h.req
}

// read reads a head, of which it keeps a copy.
func (h *Handshaker) read(head []byte) *Refusal {
	r := &h.req
	r.head = append(r.head[:0], head...)
	r.fields, r.decoded, h.offers = r.fields[:0], r.decoded[:0], h.offers[:0]
	r.host, r.origin, r.query, r.key, r.path, r.subprotocol = span{}, span{}, span{}, span{}, nil, ""
	h.known = [knownCount]knownField{}
	h.allFields = false
	if h.health != "" && h.asksForHealth() {
		return &Refusal{Status: 200, Problem: "healthy", Health: true}
	}
	for _, check := range [...]func(*Handshaker) *Refusal{
		(*Handshaker).readRequestLine,
		(*Handshaker).readFields,
		(*Handshaker).checkRequest,
		(*Handshaker).checkUpgrade,
		(*Handshaker).chooseSubprotocol,
		(*Handshaker).checkOrigin,
	} {
		if refusal := check(h); refusal != nil {
			return refusal
		}
	}
	return nil
}

// checkRequest checks what concerns HTTP alone.
func (h *Handshaker) checkRequest() *Refusal {
	h.allFields = true
	r := &h.req
	for _, f := range [...]knownName{fieldHost, fieldKey, fieldVersion, fieldOrigin, fieldLength} {
		if h.known[f].count > 1 {
			return BadRequest("the field " + f.String() + " is repeated")
		}
	}
	switch host := h.known[fieldHost]; {
	case host.count == 0:
		if !h.isOld {
			return BadRequest("the field Host is missing")
		}
	case !isHost(r.bytes(host.value)):
		return BadRequest("the field Host is not a host with an optional port")
	case r.host == span{}:
		r.host = host.value
	}
	if h.isOld {
		// Not 426: Upgrade does not exist in HTTP/1.0 (RFC 9110 §7.8).
		return &Refusal{Status: 505, Cause: CauseHTTPVersion, Problem: "a WebSocket begins with an HTTP/1.1 request (nginx: proxy_http_version 1.1)"}
	}
	if refusal := h.checkContent(); refusal != nil {
		return refusal
	}
	if slices.Contains(h.paths, string(r.path)) {
		return nil
	}
	return &Refusal{Status: 404, Cause: CausePath, Problem: "no WebSocket at this path; there is one at " + h.served}
}

// checkContent checks the method and that no content follows the head (RFC
// 9112 §6).
func (h *Handshaker) checkContent() *Refusal {
	length, coding := h.known[fieldLength], h.known[fieldTransferEncoding]
	digits := h.req.bytes(length.value)
	if length.count > 0 && len(digits) == 0 || len(bytes.TrimLeft(digits, "0123456789")) > 0 {
		return BadRequest("the field Content-Length is not a number")
	}
	if coding.count > 0 && !coding.found {
		return BadRequest("the last coding of the field Transfer-Encoding is not chunked")
	}
	if !h.isGet {
		return &Refusal{Status: 405, Cause: CauseMethod, Problem: "a WebSocket begins with a GET; pushes go to the HTTP API, at the address of api.listen"}
	}
	if coding.count > 0 || len(bytes.TrimLeft(digits, "0")) > 0 {
		return &Refusal{Status: 413, Cause: CauseBody, Problem: "the request has a body; a WebSocket begins with a GET without one"}
	}
	return nil
}

// checkUpgrade checks the fields of RFC 6455 §4.2.1.
func (h *Handshaker) checkUpgrade() *Refusal {
	r := &h.req
	wrong := func(problem string) *Refusal { return BadRequest(problem).Because(CauseUpgrade) }
	upgrade, connection, extensions := h.known[fieldUpgrade], h.known[fieldConnection], h.known[fieldExtensions]
	switch {
	case upgrade.count == 0:
		return &Refusal{Status: 426, Cause: CauseUpgrade, Problem: "this is a WebSocket endpoint; the field Upgrade is missing" + ofProxy}
	case upgrade.malformed:
		return wrong("the field Upgrade is not a list of protocols")
	case !upgrade.found:
		return wrong("the field Upgrade is not websocket")
	case connection.malformed:
		return wrong("the field Connection is not a list of tokens")
	case !connection.found:
		return wrong("the field Connection does not hold Upgrade" + ofProxy)
	case string(r.bytes(h.known[fieldVersion].value)) != "13":
		return &Refusal{Status: 426, Cause: CauseUpgrade, Problem: "the field Sec-WebSocket-Version is not 13"}
	case extensions.count > 0 && (extensions.malformed || !extensions.found):
		return wrong("the field Sec-WebSocket-Extensions is not a list of extensions (RFC 6455 §9.1)")
	}
	r.key = h.known[fieldKey].value
	key := r.bytes(r.key)
	var raw [keyLen]byte
	if len(key) != keyLen {
		return wrong("the field Sec-WebSocket-Key is not 16 bytes in base64")
	}
	if n, err := base64.StdEncoding.Decode(raw[:], key); err != nil || n != 16 {
		return wrong("the field Sec-WebSocket-Key is not 16 bytes in base64")
	}
	return nil
}

// ofProxy is what to do when a field that is for one hop only did not arrive
// (RFC 9110 §7.6.1).
const ofProxy = " (a proxy may have removed it; nginx: proxy_http_version 1.1, proxy_set_header Upgrade $http_upgrade and proxy_set_header Connection upgrade)"

// chooseSubprotocol takes the first that the client lists and this server
// speaks. Members are tokens, none is empty and none is there twice (RFC 6455
// §4.1); what RFC 9110 §5.6.1 says of empty members does not hold here.
func (h *Handshaker) chooseSubprotocol() *Refusal {
	r := &h.req
	for _, offer := range h.offers {
		name := r.bytes(offer)
		if !isToken(name) {
			return BadRequest("the field Sec-WebSocket-Protocol is not a list of tokens").Because(CauseUpgrade)
		}
		for _, sub := range h.subprotocols {
			if r.subprotocol == "" && string(name) == sub {
				r.subprotocol = sub
			}
		}
	}
	if h.isRepeated() {
		return BadRequest("the field Sec-WebSocket-Protocol is not a list of different tokens: one is repeated").Because(CauseUpgrade)
	}
	return nil
}

// isRepeated says whether a subprotocol is offered twice. Its hash table has a
// secret seed: comparing each with each, or names chosen to collide, would let
// a client buy milliseconds of the shard with one request.
func (h *Handshaker) isRepeated() bool {
	if len(h.offers) < 2 {
		return false
	}
	size := 1 << bits.Len(uint(2*len(h.offers)))
	h.seen = slices.Grow(h.seen[:0], size)[:size]
	clear(h.seen)
	for i, offer := range h.offers {
		name := h.req.bytes(offer)
		for at := maphash.Bytes(h.seed, name); ; at++ {
			earlier := &h.seen[at&uint64(size-1)]
			if *earlier == 0 {
				*earlier = uint32(i + 1)
				break
			}
			if bytes.Equal(h.req.bytes(h.offers[*earlier-1]), name) {
				return true
			}
		}
	}
	return false
}

func (h *Handshaker) checkOrigin() *Refusal {
	r := &h.req
	r.origin = h.known[fieldOrigin].value
	if !h.origins.Allow(r.Origin(), r.Host()) {
		return h.origins.refuse(r.Origin(), r.Host())
	}
	return nil
}
