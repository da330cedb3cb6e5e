package ws

import "bytes"

// asksForHealth says whether the head is a request for
// ParserOptions.HealthPath. The request line is all that counts: the checks
// of load balancers are HTTP/1.0 as often as not, and have no Host.
func (h *Parser) asksForHealth() bool {
	line, _, _ := bytes.Cut(h.req.head, []byte("\r\n"))
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, _ := bytes.Cut(rest, []byte(" "))
	path, _, _ := bytes.Cut(target, []byte("?"))
	return string(path) == h.health && (string(method) == "GET" || string(method) == "HEAD") &&
		(string(version) == "HTTP/1.1" || string(version) == "HTTP/1.0")
}
