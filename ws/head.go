package ws

import (
	"bytes"
	"fmt"
)

// First bytes of other protocols, from clients that have the wrong port.
const (
	proxyV1   = "PROXY "
	proxyV2   = "\r\n\r\n\x00\r\nQUIT\n"
	tlsRecord = "\x16\x03" // a handshake record of SSL 3 or any TLS
)

// findHead returns where the head begins in p and where it ends (n); n is 0 if
// the end has not arrived. It refuses a line as soon as no further bytes could
// make it valid.
func (ps *Parser) findHead(p []byte) (from, n int, refusal *Refusal) {
	within := p[:min(len(p), ps.opt.MaxHead)]
	if refusal := ps.refuseForeign(within); refusal != nil {
		return 0, 0, refusal
	}
	// Old clients send an empty line after their last request (RFC 9112 §2.2).
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
	case len(p) < ps.opt.MaxHead:
		return from, 0, nil
	case at == from && from < len(within):
		return from, 0, &Refusal{Status: 414, Cause: CauseHeadSize, Detail: fmt.Sprintf("the request line is longer than %d bytes", ps.opt.MaxHead)}
	}
	return from, 0, &Refusal{Status: 431, Cause: CauseHeadSize, Detail: fmt.Sprintf("request line and header are longer than %d bytes", ps.opt.MaxHead)}
}

// refuseForeign refuses the first bytes of another protocol, with advice for the
// operator.
func (ps *Parser) refuseForeign(p []byte) *Refusal {
	var detail string
	switch {
	case bytes.HasPrefix(p, []byte(tlsRecord)):
		detail = "this is TLS, and this port speaks plain HTTP: connect with ws:// instead of wss://, turn TLS on at this port (tls.cert, tls.listen), or end it at a proxy in front"
	case bytes.HasPrefix(p, []byte(proxyV1)), bytes.HasPrefix(p, []byte(proxyV2)):
		detail = "this is a PROXY protocol header, and none is expected: "
		if ps.opt.PROXYAdvice != "" {
			detail += ps.opt.PROXYAdvice + ", or "
		}
		detail += "turn the header off at the proxy (haproxy: send-proxy, nginx: proxy_protocol)"
	default:
		return nil
	}
	return BadRequest(detail).WithCause(CauseProtocol)
}

// begins returns true if p is a part of whole, so that more bytes could still
// make it whole.
func begins(p []byte, whole string) bool {
	return len(p) < len(whole) && whole[:len(p)] == string(p)
}
