package ws

import (
	"bytes"
	"fmt"
)

// What a client sends that takes this port for something else.
const (
	proxyV1   = "PROXY "
	proxyV2   = "\r\n\r\n\x00\r\nQUIT\n"
	tlsRecord = "\x16\x03" // a handshake record of SSL 3 or any TLS
)

// findHead returns where the head begins and ends in p; n is 0 if its end is
// not there yet. It refuses at once what will never be one, line by line.
func (h *Parser) findHead(p []byte) (from, n int, refusal *Refusal) {
	within := p[:min(len(p), h.maxHead)]
	if refusal := foreign(within); refusal != nil {
		return 0, 0, refusal
	}
	// RFC 9112 §2.2: old clients send an empty line behind their last request.
	for bytes.HasPrefix(within[from:], []byte("\r\n")) {
		from += 2
	}
	unclear := begins(within, proxyV2) || begins(within, tlsRecord)
	if rest := within[from:]; !unclear && len(rest) > 0 && !isTokenByte(rest[0]) && !begins(rest, "\r\n") {
		return from, 0, BadRequest("this is not HTTP: the first byte cannot begin a request").WithCause(CauseProtocol)
	}
	at := from
	for !unclear {
		i := bytes.IndexByte(within[at:], '\n')
		if i < 0 {
			break
		}
		switch cr := bytes.IndexByte(within[at:at+i], '\r'); {
		case cr < 0:
			return from, 0, BadRequest("a line of the request ends in LF without CR")
		case cr != i-1:
			return from, 0, BadRequest("a line of the request holds a CR that does not end it")
		}
		at += i + 1
		if i == 1 {
			return from, at, nil
		}
	}
	switch {
	case len(p) < h.maxHead:
		return from, 0, nil
	case at == from && from < len(within):
		return from, 0, &Refusal{Status: 414, Cause: CauseHeadSize, Detail: fmt.Sprintf("the request line is longer than %d bytes", h.maxHead)}
	}
	return from, 0, &Refusal{Status: 431, Cause: CauseHeadSize, Detail: fmt.Sprintf("request line and header are longer than %d bytes", h.maxHead)}
}

// foreign refuses what begins as another protocol does, and says what to do
// about it.
func foreign(p []byte) *Refusal {
	problem := ""
	switch {
	case bytes.HasPrefix(p, []byte(tlsRecord)):
		problem = "this is TLS, and this port speaks plain HTTP: end TLS at a proxy in front of it, or connect with ws:// instead of wss://"
	case bytes.HasPrefix(p, []byte(proxyV1)), bytes.HasPrefix(p, []byte(proxyV2)):
		problem = "this is a PROXY protocol header, and none is expected: list this address in proxy.protocol, or turn the header off at the proxy (haproxy: send-proxy, nginx: proxy_protocol)"
	default:
		return nil
	}
	return BadRequest(problem).WithCause(CauseProtocol)
}

// begins says whether p, which may go on, can become what begins with whole.
func begins(p []byte, whole string) bool {
	return len(p) < len(whole) && whole[:len(p)] == string(p)
}

// readRequestLine reads "GET target HTTP/1.1" (RFC 9112 §3).
func (h *Parser) readRequestLine() *Refusal {
	line, _, _ := bytes.Cut(h.req.head, []byte("\r\n"))
	method, rest, ok1 := bytes.Cut(line, []byte(" "))
	target, version, ok2 := bytes.Cut(rest, []byte(" "))
	if !ok1 || !ok2 || !isToken(method) || !isTarget(target) {
		return BadRequest("the request line is not METHOD target HTTP/1.1")
	}
	if len(version) != 8 || string(version[:5]) != "HTTP/" || version[6] != '.' || !isDigit(version[5]) || !isDigit(version[7]) {
		return BadRequest("the request line does not end in an HTTP version")
	}
	if string(line) == "PRI * HTTP/2.0" { // RFC 9113 §3.4
		return &Refusal{Status: 505, Cause: CauseProtocol,
			Detail: "this is HTTP/2, and this port speaks HTTP/1.1: have the proxy in front speak HTTP/1.1 to it (nginx: proxy_http_version 1.1, haproxy: proto h1)"}
	}
	if version[5] != '1' { // such a request cannot even be read
		return &Refusal{Status: 505, Cause: CauseHTTPVersion, Detail: "this port speaks HTTP/1.1"}
	}
	h.isGet, h.isOld = string(method) == "GET", version[7] == '0'
	if string(target) == "*" && string(method) == "OPTIONS" || string(method) == "CONNECT" && isHost(target) {
		return nil // asterisk-form and authority-form: known, and not allowed here
	}
	return h.readTarget(uint32(len(method)+1), target)
}

// readTarget takes a request target apart, in origin-form or absolute-form
// (RFC 9112 §3.2); the other forms are not for GET.
func (h *Parser) readTarget(at uint32, target []byte) *Refusal {
	r := &h.req
	if target[0] != '/' {
		i := bytes.Index(target, []byte("://"))
		if i < 0 || !isHTTPScheme(target[:i]) {
			return BadRequest("the request target is neither a path nor an http URI")
		}
		i += 3
		end := bytes.IndexAny(target[i:], "/?")
		if end < 0 {
			end = len(target) - i
		}
		if !isHost(target[i : i+end]) {
			return BadRequest("the request target has no valid host")
		}
		r.host = span{at + uint32(i), at + uint32(i+end)}
		at += uint32(i + end)
		target = target[i+end:]
	}
	path, query, _ := bytes.Cut(target, []byte("?"))
	r.query = span{at + uint32(len(target)-len(query)), at + uint32(len(target))}
	if !checkEscapes(path) || !checkEscapes(query) {
		return BadRequest("the request target has a % without two hex digits")
	}
	// Slices of r.head, so that they outlive p.
	if r.path = r.decode(r.bytes(span{at, at + uint32(len(path))}), false); len(path) == 0 {
		r.path = []byte("/")
	}
	return nil
}

// isTarget says whether p can be a request target: printable ASCII without a
// fragment, which no request target has (RFC 9112 §3.2). It lets pass what
// RFC 3986 excludes and browsers send unescaped, like "|".
func isTarget(p []byte) bool {
	for _, c := range p {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return len(p) > 0
}
