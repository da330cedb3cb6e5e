package ws

import "bytes"

// readRequestLine reads "GET target HTTP/1.1" (RFC 9112 §3).
func (ps *Parser) readRequestLine() *Refusal {
	line, _, _ := bytes.Cut(ps.req.head, []byte("\r\n"))
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
	if version[5] != '1' { // the rest of the head may have another syntax
		return &Refusal{Status: 505, Cause: CauseHTTPVersion, Detail: "this port speaks HTTP/1.1"}
	}
	ps.isGet, ps.isOld = string(method) == "GET", version[7] == '0'
	if string(target) == "*" && string(method) == "OPTIONS" || string(method) == "CONNECT" && isHost(target) {
		return nil // asterisk-form and authority-form are valid; checkContent refuses the method
	}
	return ps.readTarget(uint32(len(method)+1), target)
}

// readTarget splits a request target in origin-form or absolute-form into host,
// path and query (RFC 9112 §3.2). GET allows no other form. at is the place of
// the target in the head.
func (ps *Parser) readTarget(at uint32, target []byte) *Refusal {
	r := &ps.req
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
	// The path is a slice of r.head and not of p, so it stays valid.
	if r.path = r.decode(r.bytes(span{at, at + uint32(len(path))}), false); len(path) == 0 {
		r.path = []byte("/")
	}
	return nil
}

// isTarget returns whether p can be a request target: printable ASCII without a
// fragment (RFC 9112 §3.2). It allows characters like "|", which RFC 3986
// excludes and browsers send unescaped.
func isTarget(p []byte) bool {
	for _, c := range p {
		if c <= ' ' || c >= 0x7f || c == '#' {
			return false
		}
	}
	return len(p) > 0
}
