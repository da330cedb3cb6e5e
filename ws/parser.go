package ws

import (
	"bytes"
	"fmt"
	"hash/maphash"
)

// Values of ParserOptions.MaxHead, in bytes.
const (
	// DefaultMaxHead is the default.
	DefaultMaxHead = 8 << 10
	// MinMaxHead is the smallest allowed value.
	MinMaxHead = 512
	maxMaxHead = 1 << 20
)

// ParserOptions configure a Parser.
type ParserOptions struct {
	// MaxHead limits request line and header together, in bytes; 0:
	// DefaultMaxHead. A longer head is refused with 431, or with 414 if the
	// request line alone is longer.
	MaxHead int

	// HealthPath is the path for health checks; "": none. A GET or HEAD of this
	// path gets a Refusal with Health set, and nothing else in it is checked.
	HealthPath string

	// MethodAdvice and PROXYAdvice say what an operator can do about a request
	// that is not a GET, and about an unexpected header of the PROXY protocol.
	// They become a part of the refusal's Detail; "": no advice. They are for
	// names of the server's settings, which this package does not know.
	MethodAdvice, PROXYAdvice string
}

// OptionError names the option that is out of its range.
type OptionError struct {
	Option string // name of the field or parameter: "MaxHead", "patterns", …
	Detail string // the value and the allowed range, for people
}

func (e *OptionError) Error() string { return e.Option + ": " + e.Detail }

// Parser reads the heads of HTTP/1.1 requests with which clients connect: GET
// without content. It reuses its buffers, so one goroutine at a time may use
// it, for one Request at a time. docs/adr/0010 says why no library does this.
type Parser struct {
	opt ParserOptions
	req Request

	// What the head in req says, beside req.
	isGet     bool
	isOld     bool // HTTP/1.0
	allFields bool // all fields were read
}

// NewParser returns a Parser, or an *OptionError if an option is out of its
// range.
func NewParser(o ParserOptions) (*Parser, error) {
	if o.MaxHead == 0 {
		o.MaxHead = DefaultMaxHead
	}
	if o.MaxHead < MinMaxHead || o.MaxHead > maxMaxHead {
		return nil, &OptionError{"MaxHead", fmt.Sprintf("%d bytes; allowed are %d to %d", o.MaxHead, MinMaxHead, maxMaxHead)}
	}
	ps := &Parser{opt: o}
	ps.req.seed = maphash.MakeSeed()
	return ps, nil
}

// Parse reads the request at the start of p, which is all that was received so
// far. If the head is incomplete, it returns nil, 0, nil: call again with the
// same bytes and more behind them. Otherwise it returns a Request, valid until
// the next Parse, or a Refusal. n is the length of the head in bytes; what the
// client sent behind the head follows there. A refusal that is certain before
// the head is complete has n 0. Parse does not keep p.
//
// The result does not depend on how the bytes were split.
func (ps *Parser) Parse(p []byte) (req *Request, n int, refusal *Refusal) {
	from, n, refusal := ps.findHead(p)
	if n > 0 {
		refusal = ps.read(p[from:n])
	}
	if refusal != nil {
		refusal.NoContent = bytes.HasPrefix(p[from:], []byte("HEAD "))
		return nil, n, refusal
	}
	if n == 0 {
		return nil, 0, nil
	}
	return &ps.req, n, nil
}

// LastOrigin returns the field Origin of the head that was parsed last, also if
// it was refused. It is valid until the next Parse. It must be called only if
// that head was complete (n of Parse was not 0).
func (ps *Parser) LastOrigin() []byte { return ps.req.Origin() }

// LastRequest returns the request that was parsed last, also if it was refused,
// or nil if not all of its fields were read: without the last fields, the last
// address in X-Forwarded-For may be one that the client made up. It is valid
// until the next Parse.
func (ps *Parser) LastRequest() *Request {
	if !ps.allFields {
		return nil
	}
	return &ps.req
}

// read copies a complete head into req and reads it.
func (ps *Parser) read(head []byte) *Refusal {
	r := &ps.req
	r.head = append(r.head[:0], head...)
	r.fields, r.decoded, r.offers = r.fields[:0], r.decoded[:0], r.offers[:0]
	r.host, r.query, r.path, r.subprotocol, r.extension = span{}, span{}, nil, "", ""
	r.known = [knownCount]knownField{}
	ps.allFields = false
	if ps.opt.HealthPath != "" && ps.asksForHealth() {
		return &Refusal{Status: 200, Detail: "healthy", Health: true}
	}
	for _, check := range [...]func(*Parser) *Refusal{
		(*Parser).readRequestLine,
		(*Parser).readFields,
		(*Parser).checkRequest,
	} {
		if refusal := check(ps); refusal != nil {
			return refusal
		}
	}
	return nil
}

// checkRequest checks the rules of HTTP, which hold whatever the request asks
// for.
func (ps *Parser) checkRequest() *Refusal {
	ps.allFields = true
	r := &ps.req
	for _, f := range [...]knownName{fieldHost, fieldKey, fieldVersion, fieldOrigin, fieldLength} {
		if r.known[f].count > 1 {
			return BadRequest("the field " + f.String() + " is repeated")
		}
	}
	switch host := r.known[fieldHost]; {
	case host.count == 0:
		if !ps.isOld {
			return BadRequest("the field Host is missing")
		}
	case !isHost(r.bytes(host.value)):
		return BadRequest("the field Host is not a host with an optional port")
	case r.host == span{}:
		r.host = host.value
	}
	if ps.isOld {
		// Not 426: Upgrade does not exist in HTTP/1.0 (RFC 9110 §7.8).
		return &Refusal{Status: 505, Cause: CauseHTTPVersion, Detail: "this port speaks HTTP/1.1 (nginx: proxy_http_version 1.1)"}
	}
	return ps.checkContent()
}

// checkContent checks that the method is GET and that no content follows the
// head (RFC 9112 §6).
func (ps *Parser) checkContent() *Refusal {
	r := &ps.req
	length, coding := r.known[fieldLength], r.known[fieldTransferEncoding]
	digits := r.bytes(length.value)
	if length.count > 0 && len(digits) == 0 || len(bytes.TrimLeft(digits, "0123456789")) > 0 {
		return BadRequest("the field Content-Length is not a number")
	}
	if coding.count > 0 && !coding.found {
		return BadRequest("the last coding of the field Transfer-Encoding is not chunked")
	}
	if !ps.isGet {
		detail := "this port serves only GET"
		if ps.opt.MethodAdvice != "" {
			detail += "; " + ps.opt.MethodAdvice
		}
		return &Refusal{Status: 405, Cause: CauseMethod, Detail: detail}
	}
	if coding.count > 0 || len(bytes.TrimLeft(digits, "0")) > 0 {
		return &Refusal{Status: 413, Cause: CauseBody, Detail: "the request has a body; this port serves only GET without one"}
	}
	return nil
}
