package session

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"strings"

	"github.com/gobwas/ws"
)

// Limits of an opening handshake.
const (
	// DefaultMaxHead is the default of HandshakeOptions.MaxHead, in bytes.
	DefaultMaxHead = 8 << 10
	minMaxHead     = 512
	maxMaxHead     = 1 << 20

	keyLen = 24 // base64 of the 16 bytes of Sec-WebSocket-Key
)

// HandshakeOptions say which handshakes are accepted.
type HandshakeOptions struct {
	MaxHead      int      // bytes of request line and header; 0: DefaultMaxHead; passed: 431, or 414 if the request line alone is longer
	Paths        []string // paths served, compared after percent-decoding; none: "/ws"; others: 404
	Subprotocols []string // spoken here; the first of the client's list that is among them is chosen
	Origins      *Origins // web pages that may connect; nil: those of the same host; others: 403
}

// Handshaker reads opening handshakes. It reuses its buffers: one goroutine at
// a time, and one Request at a time.
//
// It goes through the head itself and then lets ws.Upgrader judge the same
// bytes and write the response. The Upgrader alone is too lenient (bare LF,
// folded lines, repeated Host or key, bodies, keys that are no base64), says
// nothing at all to what it cannot parse, and reads beyond the head if given
// more than the head.
type Handshaker struct {
	maxHead      int
	paths        []string
	served       string // paths for a 404
	subprotocols []string
	origins      *Origins
	upgrader     ws.Upgrader
	rw           headReadWriter
	req          Request
	known        [knownCount]knownField
	isGet        bool
}

// NewHandshaker returns a *FieldError if an option is out of its range.
func NewHandshaker(o HandshakeOptions) (*Handshaker, error) {
	h := &Handshaker{maxHead: o.MaxHead, paths: o.Paths, subprotocols: o.Subprotocols, origins: o.Origins}
	if h.maxHead == 0 {
		h.maxHead = DefaultMaxHead
	}
	if h.maxHead < minMaxHead || h.maxHead > maxMaxHead {
		return nil, &FieldError{"max_head", fmt.Sprintf("%d bytes; allowed are %d to %d", h.maxHead, minMaxHead, maxMaxHead)}
	}
	if len(h.paths) == 0 {
		h.paths = []string{"/ws"}
	}
	for _, path := range h.paths {
		if !strings.HasPrefix(path, "/") {
			return nil, &FieldError{"paths", fmt.Sprintf("%q does not begin with a slash", path)}
		}
	}
	for _, sub := range h.subprotocols {
		if !isToken([]byte(sub)) {
			return nil, &FieldError{"subprotocols", fmt.Sprintf("%q is not a token", sub)}
		}
	}
	h.served = strings.Join(h.paths, ", ")
	h.upgrader = ws.Upgrader{
		ReadBufferSize: h.maxHead, // a longer line would be assembled on the heap
		ProtocolCustom: func([]byte) (string, bool) { return h.req.subprotocol, true },
	}
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
	n, refusal = h.findEnd(p)
	if n == 0 {
		return nil, 0, refusal
	}
	r := &h.req
	r.head = append(r.head[:0], p[:n]...)
	r.fields, r.decoded, r.accept = r.fields[:0], r.decoded[:0], r.accept[:0]
	r.host, r.origin, r.query, r.path, r.subprotocol = span{}, span{}, span{}, nil, ""
	h.known = [knownCount]knownField{}
	for _, check := range [...]func(*Handshaker) *Refusal{
		(*Handshaker).readRequestLine,
		(*Handshaker).readFields,
		(*Handshaker).checkRequest,
		(*Handshaker).checkUpgrade,
		(*Handshaker).chooseSubprotocol,
		(*Handshaker).checkOrigin,
		(*Handshaker).upgrade,
	} {
		if refusal = check(h); refusal != nil {
			return nil, n, refusal
		}
	}
	return r, n, nil
}

// findEnd returns the length of the head, 0 if its end is not there yet. It
// refuses at once what will never be one, line by line.
func (h *Handshaker) findEnd(p []byte) (int, *Refusal) {
	if len(p) == 0 {
		return 0, nil
	}
	if !isTokenByte(p[0]) {
		return 0, malformed("this is not HTTP: the first byte cannot begin a request (TLS ends in front of this server)").Because(CauseProtocol)
	}
	within := p[:min(len(p), h.maxHead)]
	at := 0
	for {
		i := bytes.IndexByte(within[at:], '\n')
		if i < 0 {
			break
		}
		switch cr := bytes.IndexByte(within[at:at+i], '\r'); {
		case cr < 0:
			return 0, malformed("a line of the request ends in LF without CR")
		case cr != i-1:
			return 0, malformed("a line of the request holds a CR that does not end it")
		}
		at += i + 1
		if i == 1 {
			return at, nil
		}
	}
	switch {
	case len(p) < h.maxHead:
		return 0, nil
	case at == 0:
		return 0, &Refusal{Status: 414, Cause: CauseHeadSize, Problem: fmt.Sprintf("the request line is longer than %d bytes", h.maxHead)}
	}
	return 0, &Refusal{Status: 431, Cause: CauseHeadSize, Problem: fmt.Sprintf("request line and header are longer than %d bytes", h.maxHead)}
}

// readRequestLine reads "GET target HTTP/1.1" (RFC 9112 §3).
func (h *Handshaker) readRequestLine() *Refusal {
	line, _, _ := bytes.Cut(h.req.head, []byte("\r\n"))
	method, rest, ok1 := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok1 || !ok2 || !isToken(method) || !isTarget(target) {
		return malformed("the request line is not METHOD target HTTP/1.1")
	}
	if len(version) != 8 || string(version[:5]) != "HTTP/" || version[6] != '.' || !isDigit(version[5]) || !isDigit(version[7]) {
		return malformed("the request line does not end in an HTTP version")
	}
	if version[5] != '1' || version[7] == '0' {
		// Not 426: Upgrade does not exist in HTTP/1.0 (RFC 9110 §7.8), and a
		// request of another major version cannot even be read.
		return &Refusal{Status: 505, Cause: CauseHTTPVersion, Problem: "a WebSocket begins with an HTTP/1.1 request"}
	}
	h.isGet = string(method) == "GET"
	return h.readTarget(uint32(len(method)+1), target)
}

// readTarget takes a request target apart, in origin-form or absolute-form
// (RFC 9112 §3.2); the other forms are not for GET.
func (h *Handshaker) readTarget(at uint32, target []byte) *Refusal {
	r := &h.req
	if target[0] != '/' {
		i := bytes.Index(target, []byte("://"))
		if i < 0 || !equalFold(target[:i], "http") && !equalFold(target[:i], "https") &&
			!equalFold(target[:i], "ws") && !equalFold(target[:i], "wss") {
			return malformed("the request target is neither a path nor an http URI")
		}
		i += 3
		end := bytes.IndexAny(target[i:], "/?")
		if end < 0 {
			end = len(target) - i
		}
		if !isHost(target[i : i+end]) {
			return malformed("the request target has no valid host")
		}
		r.host = span{at + uint32(i), at + uint32(i+end)}
		at += uint32(i + end)
		target = target[i+end:]
	}
	path, query, _ := bytes.Cut(target, []byte("?"))
	r.query = span{at + uint32(len(target)-len(query)), at + uint32(len(target))}
	if !checkEscapes(path) || !checkEscapes(query) {
		return malformed("the request target has a % without two hex digits")
	}
	// Slices of r.head, so that they outlive p.
	if r.path = r.decode(r.bytes(span{at, at + uint32(len(path))}), false); len(path) == 0 {
		r.path = []byte("/")
	}
	return nil
}

// checkRequest checks what concerns HTTP alone.
func (h *Handshaker) checkRequest() *Refusal {
	r := &h.req
	for _, f := range [...]knownName{fieldHost, fieldUpgrade, fieldKey, fieldVersion, fieldOrigin, fieldLength} {
		if h.known[f].count > 1 {
			return malformed("the field " + f.String() + " is repeated")
		}
	}
	switch host := h.known[fieldHost]; {
	case host.count == 0:
		return malformed("the field Host is missing")
	case !isHost(r.bytes(host.value)):
		return malformed("the field Host is not a host with an optional port")
	case r.host == span{}:
		r.host = host.value
	}
	if !h.isGet {
		return &Refusal{Status: 405, Cause: CauseMethod, Problem: "a WebSocket begins with a GET"}
	}
	length := r.bytes(h.known[fieldLength].value)
	for _, c := range length {
		if !isDigit(c) {
			return malformed("the field Content-Length is not a number")
		}
	}
	if h.known[fieldTransferEncoding].count > 0 || len(bytes.TrimLeft(length, "0")) > 0 {
		return &Refusal{Status: 413, Cause: CauseBody, Problem: "the request has a body; a WebSocket begins with a GET without one"}
	}
	for _, path := range h.paths {
		if string(r.path) == path {
			return nil
		}
	}
	return &Refusal{Status: 404, Cause: CausePath, Problem: "no WebSocket at this path; there is one at " + h.served}
}

// checkUpgrade checks the fields of RFC 6455 §4.2.1.
func (h *Handshaker) checkUpgrade() *Refusal {
	r := &h.req
	if h.known[fieldUpgrade].count == 0 {
		return &Refusal{Status: 426, Cause: CauseUpgrade, Problem: "this is a WebSocket endpoint; the field Upgrade is missing"}
	}
	if !equalFold(r.bytes(h.known[fieldUpgrade].value), "websocket") {
		return malformed("the field Upgrade is not websocket").Because(CauseUpgrade)
	}
	if h.known[fieldConnection].count == 0 || h.known[fieldConnection].odd {
		return malformed("the field Connection does not hold Upgrade (a proxy may have removed it)").Because(CauseUpgrade)
	}
	if string(r.bytes(h.known[fieldVersion].value)) != "13" {
		return &Refusal{Status: 426, Cause: CauseUpgrade, Problem: "the field Sec-WebSocket-Version is not 13"}
	}
	key := r.bytes(h.known[fieldKey].value)
	var raw [keyLen]byte
	if len(key) != keyLen {
		return malformed("the field Sec-WebSocket-Key is not 16 bytes in base64").Because(CauseUpgrade)
	}
	if n, err := base64.StdEncoding.Decode(raw[:], key); err != nil || n != 16 {
		return malformed("the field Sec-WebSocket-Key is not 16 bytes in base64").Because(CauseUpgrade)
	}
	return nil
}

// chooseSubprotocol takes the first that the client lists and this server
// speaks. The elements are tokens (RFC 6455 §4.2.1); empty ones are passed
// over (RFC 9110 §5.6.1).
func (h *Handshaker) chooseSubprotocol() *Refusal {
	if h.known[fieldSubprotocol].count == 0 {
		return nil
	}
	r := &h.req
	for i := range r.fields {
		if !equalFold(r.bytes(r.fields[i].name), fieldSubprotocol.String()) {
			continue
		}
		for rest := r.bytes(r.fields[i].value); len(rest) > 0; {
			var name []byte
			name, rest = nextElement(rest)
			if len(name) > 0 && !isToken(name) {
				return malformed("the field Sec-WebSocket-Protocol is not a list of tokens").Because(CauseUpgrade)
			}
			for _, sub := range h.subprotocols {
				if r.subprotocol == "" && string(name) == sub {
					r.subprotocol = sub
				}
			}
		}
	}
	return nil
}

func (h *Handshaker) checkOrigin() *Refusal {
	r := &h.req
	r.origin = h.known[fieldOrigin].value
	if !h.origins.Allow(r.Origin(), r.Host()) {
		return Forbidden("pages of this Origin may not connect here (see the list of allowed origins)").Because(CauseOrigin)
	}
	return nil
}

// upgrade lets ws.Upgrader read the head and keeps the response it writes.
// Extensions are declined by its having no Negotiate: it then passes over
// Sec-WebSocket-Extensions, malformed or not.
func (h *Handshaker) upgrade() *Refusal {
	h.rw = headReadWriter{in: h.req.head, out: h.req.accept}
	_, err := h.upgrader.Upgrade(&h.rw)
	h.req.accept = h.rw.out
	if err != nil {
		return malformed("not a WebSocket handshake")
	}
	return nil
}

// headReadWriter is the connection that ws.Upgrader believes it talks to.
type headReadWriter struct{ in, out []byte }

func (rw *headReadWriter) Read(p []byte) (int, error) {
	if len(rw.in) == 0 {
		return 0, io.EOF
	}
	n := copy(p, rw.in)
	rw.in = rw.in[n:]
	return n, nil
}

func (rw *headReadWriter) Write(p []byte) (int, error) {
	rw.out = append(rw.out, p...)
	return len(p), nil
}
