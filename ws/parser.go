package ws

import (
	"bytes"
	"fmt"
	"hash/maphash"
)

// Limits of a request's head.
const (
	// DefaultMaxHead is the default of ParserOptions.MaxHead, in bytes.
	DefaultMaxHead = 8 << 10
	// MinMaxHead is the least that ParserOptions.MaxHead may be, in bytes.
	MinMaxHead = 512
	maxMaxHead = 1 << 20
)

// ParserOptions configure a Parser.
type ParserOptions struct {
	MaxHead int // bytes of request line and header; 0: DefaultMaxHead; passed: 431, or 414 if the request line alone is longer

	// HealthPath is a path whose requests are told apart by Refusal.Health,
	// whatever else is in them; "": none.
	HealthPath string
}

// OptionError says which option is wrong and what it may be.
type OptionError struct {
	Option  string // as configuration spells it: "max_head", "origins", …
	Problem string
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Problem }

// Parser reads the heads of HTTP/1.1 requests that have no content: those with
// which clients connect. It reuses its buffers: one goroutine at a time, and
// one Request at a time. docs/adr/0010 says why it leaves nothing to a library.
type Parser struct {
	maxHead   int
	health    string
	req       Request
	isGet     bool
	isOld     bool // HTTP/1.0
	allFields bool // of req were read
}

// NewParser returns an *OptionError if an option is out of its range.
func NewParser(o ParserOptions) (*Parser, error) {
	h := &Parser{maxHead: o.MaxHead, health: o.HealthPath}
	h.req.seed = maphash.MakeSeed()
	if h.maxHead == 0 {
		h.maxHead = DefaultMaxHead
	}
	if h.maxHead < MinMaxHead || h.maxHead > maxMaxHead {
		return nil, &OptionError{"max_head", fmt.Sprintf("%d bytes; allowed are %d to %d", h.maxHead, MinMaxHead, maxMaxHead)}
	}
	return h, nil
}

// Parse reads the request at the start of p, which is all that was
// received so far. If the head is not all there it returns nil, 0, nil: call
// again with more bytes behind the same. Otherwise n is the length of the head
// (what follows is what the client sent behind it) and there is either a Request,
// valid until the next Parse, or a Refusal. A refusal that does not need the
// whole head comes with n 0. p is not kept.
//
// The result does not depend on how the bytes were split.
func (h *Parser) Parse(p []byte) (req *Request, n int, refusal *Refusal) {
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
func (h *Parser) LastOrigin() []byte { return h.req.Origin() }

// LastRequest returns the request that was parsed last, which may have been
// refused, if all of its fields were read: of some of them the last address in
// X-Forwarded-For may be one that the client made up. Valid as LastOrigin.
func (h *Parser) LastRequest() *Request {
	if !h.allFields {
		return nil
	}
	return &h.req
}

// read reads a head, of which it keeps a copy.
func (h *Parser) read(head []byte) *Refusal {
	r := &h.req
	r.head = append(r.head[:0], head...)
	r.fields, r.decoded, r.offers = r.fields[:0], r.decoded[:0], r.offers[:0]
	r.host, r.query, r.path, r.subprotocol, r.extension = span{}, span{}, nil, "", ""
	r.known = [knownCount]knownField{}
	h.allFields = false
	if h.health != "" && h.asksForHealth() {
		return &Refusal{Status: 200, Detail: "healthy", Health: true}
	}
	for _, check := range [...]func(*Parser) *Refusal{
		(*Parser).readRequestLine,
		(*Parser).readFields,
		(*Parser).checkRequest,
	} {
		if refusal := check(h); refusal != nil {
			return refusal
		}
	}
	return nil
}

// checkRequest checks what concerns HTTP alone.
func (h *Parser) checkRequest() *Refusal {
	h.allFields = true
	r := &h.req
	for _, f := range [...]knownName{fieldHost, fieldKey, fieldVersion, fieldOrigin, fieldLength} {
		if h.req.known[f].count > 1 {
			return BadRequest("the field " + f.String() + " is repeated")
		}
	}
	switch host := h.req.known[fieldHost]; {
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
		return &Refusal{Status: 505, Cause: CauseHTTPVersion, Detail: "this port speaks HTTP/1.1 (nginx: proxy_http_version 1.1)"}
	}
	return h.checkContent()
}

// checkContent checks the method and that no content follows the head (RFC
// 9112 §6).
func (h *Parser) checkContent() *Refusal {
	length, coding := h.req.known[fieldLength], h.req.known[fieldTransferEncoding]
	digits := h.req.bytes(length.value)
	if length.count > 0 && len(digits) == 0 || len(bytes.TrimLeft(digits, "0123456789")) > 0 {
		return BadRequest("the field Content-Length is not a number")
	}
	if coding.count > 0 && !coding.found {
		return BadRequest("the last coding of the field Transfer-Encoding is not chunked")
	}
	if !h.isGet {
		return &Refusal{Status: 405, Cause: CauseMethod, Detail: "this port serves only GET; pushes go to the HTTP API, at the address of api.listen"}
	}
	if coding.count > 0 || len(bytes.TrimLeft(digits, "0")) > 0 {
		return &Refusal{Status: 413, Cause: CauseBody, Detail: "the request has a body; this port serves only GET without one"}
	}
	return nil
}
