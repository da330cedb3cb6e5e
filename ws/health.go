package ws

import "bytes"

// asksForHealth returns whether the head is a request for
// ParserOptions.HealthPath. Only the request line counts, because many load
// balancers check with HTTP/1.0 and without Host.
func (ps *Parser) asksForHealth() bool {
	line, _, _ := bytes.Cut(ps.req.head, []byte("\r\n"))
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, _ := bytes.Cut(rest, []byte(" "))
	path, _, _ := bytes.Cut(target, []byte("?"))
	return string(path) == ps.opt.HealthPath && (string(method) == "GET" || string(method) == "HEAD") &&
		(string(version) == "HTTP/1.1" || string(version) == "HTTP/1.0")
}
