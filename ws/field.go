package ws

import "bytes"

// knownName is a header field that the Parser or the handshake checks.
type knownName uint8

const (
	fieldNone knownName = iota
	fieldHost
	fieldOrigin
	fieldUpgrade
	fieldConnection
	fieldLength
	fieldTransferEncoding
	fieldKey
	fieldVersion
	fieldSubprotocol
	fieldExtensions
	knownCount
)

// knownField is the content of a known field in a head.
type knownField struct {
	value span // of the last line
	count int  // number of lines

	// For list fields, over all lines:
	found     bool // the list has the wanted member (Transfer-Encoding: as the last one)
	malformed bool // a member is malformed
}

// String returns the name of a known field.
func (f knownName) String() string {
	switch f {
	case fieldHost:
		return "Host"
	case fieldOrigin:
		return "Origin"
	case fieldUpgrade:
		return "Upgrade"
	case fieldConnection:
		return "Connection"
	case fieldLength:
		return "Content-Length"
	case fieldTransferEncoding:
		return "Transfer-Encoding"
	case fieldKey:
		return "Sec-WebSocket-Key"
	case fieldVersion:
		return "Sec-WebSocket-Version"
	case fieldSubprotocol:
		return "Sec-WebSocket-Protocol"
	case fieldExtensions:
		return "Sec-WebSocket-Extensions"
	}
	return ""
}

// lookUp returns the known field with that name, in any case of letters, or
// fieldNone.
func lookUp(name []byte) knownName {
	var candidates [2]knownName
	switch len(name) {
	case 4:
		candidates[0] = fieldHost
	case 6:
		candidates[0] = fieldOrigin
	case 7:
		candidates[0] = fieldUpgrade
	case 10:
		candidates[0] = fieldConnection
	case 14:
		candidates[0] = fieldLength
	case 17:
		candidates = [2]knownName{fieldKey, fieldTransferEncoding}
	case 21:
		candidates[0] = fieldVersion
	case 22:
		candidates[0] = fieldSubprotocol
	case 24:
		candidates[0] = fieldExtensions
	}
	for _, f := range candidates {
		if f != fieldNone && equalFold(name, f.String()) {
			return f
		}
	}
	return fieldNone
}

// readFields reads the header fields (RFC 9112 §5).
func (ps *Parser) readFields() *Refusal {
	r := &ps.req
	at := bytes.IndexByte(r.head, '\n') + 1
	for {
		end := at + bytes.IndexByte(r.head[at:], '\r')
		line := r.head[at:end]
		if len(line) == 0 {
			return nil
		}
		if line[0] == ' ' || line[0] == '\t' {
			return BadRequest("a header line is folded (RFC 9112 §5.2)")
		}
		colon := bytes.IndexByte(line, ':')
		if colon < 0 || !isToken(line[:colon]) {
			return BadRequest("a header line does not begin with a name and a colon")
		}
		value := trimSpace(r.head, span{uint32(at + colon + 1), uint32(end)})
		if !isFieldValue(r.bytes(value)) {
			return BadRequest("a header field contains a control character")
		}
		r.fields = append(r.fields, field{span{uint32(at), uint32(at + colon)}, value})
		if f := lookUp(line[:colon]); f != fieldNone {
			ps.addLine(f, value)
		}
		at = end + len("\r\n")
	}
}

// isToken returns whether p is a token (RFC 9110 §5.6.2).
func isToken(p []byte) bool {
	for _, c := range p {
		if !isTokenByte(c) {
			return false
		}
	}
	return len(p) > 0
}

// Bit sets of the bytes in tokens: bytes below 64, and bytes from 64 to 127.
const (
	tokenLow = 1<<'!' | 1<<'#' | 1<<'$' | 1<<'%' | 1<<'&' | 1<<'\'' | 1<<'*' | 1<<'+' | 1<<'-' | 1<<'.' |
		(1<<10-1)<<'0'
	tokenHigh = 1<<('^'-64) | 1<<('_'-64) | 1<<('`'-64) | 1<<('|'-64) | 1<<('~'-64) |
		(1<<26-1)<<('a'-64) | (1<<26-1)<<('A'-64)
)

func isTokenByte(c byte) bool {
	switch c >> 6 {
	case 0:
		return uint64(tokenLow)>>c&1 != 0
	case 1:
		return uint64(tokenHigh)>>(c&63)&1 != 0
	}
	return false
}

// isFieldValue returns whether p has no control characters except tabs (RFC
// 9110 §5.5).
func isFieldValue(p []byte) bool {
	for _, c := range p {
		if c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isSpace(c byte) bool { return c == ' ' || c == '\t' }
