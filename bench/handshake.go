package bench

import (
	"bytes"
	"errors"
	"strconv"
)

// Key and Accept are the example pair of RFC 6455 §1.3. Every connection of the
// generator uses them, so that generator and floor need no time for random
// numbers and SHA-1; a real server computes the answer.
const (
	Key    = "dGhlIHNhbXBsZSBub25jZQ=="
	Accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// maxHead is the longest accepted response head, in bytes.
const maxHead = 8 << 10

// AppendRequest appends the upgrade request of one connection. The headers
// are whole lines without their ends; subprotocol "" asks for none.
func AppendRequest(dst []byte, host, target string, headers []string, subprotocol string) []byte {
	dst = append(dst, "GET "...)
	dst = append(dst, target...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, host...)
	dst = append(dst, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: "+Key+"\r\nSec-WebSocket-Version: 13\r\n"...)
	if subprotocol != "" {
		dst = append(dst, "Sec-WebSocket-Protocol: "...)
		dst = append(dst, subprotocol...)
		dst = append(dst, "\r\n"...)
	}
	for _, h := range headers {
		dst = append(dst, h...)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// StatusError is a response other than 101.
type StatusError struct{ Code int }

func (e *StatusError) Error() string { return "status " + strconv.Itoa(e.Code) }

var (
	errHead   = errors.New("malformed response head")
	errAccept = errors.New("wrong Sec-WebSocket-Accept")
	errUpgr   = errors.New("101 without Upgrade: websocket and Connection: Upgrade")
	errOffer  = errors.New("extension or subprotocol that was not requested")

	errNoProtocol = errors.New("subprotocol was not accepted")
	errNoDeflate  = errors.New("permessage-deflate was not accepted, or not without context takeover")
)

// ParseResponse checks the answer to AppendRequest at the start of p and
// returns its length in bytes, 0 if p does not contain all of it yet.
// subprotocol is the requested one.
func ParseResponse(p []byte, subprotocol string) (n int, err error) {
	return parseUpgrade(p, subprotocol, false)
}

// parseUpgrade is ParseResponse for a request that has offered
// permessage-deflate or not.
func parseUpgrade(p []byte, subprotocol string, deflate bool) (n int, err error) {
	rest, n, err := parseHead(p, 101)
	if n == 0 {
		return 0, err
	}
	var line []byte
	var upgrade, connection, accept, agreed bool
	chosen := ""
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return 0, errHead
		}
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Upgrade")):
			upgrade = bytes.EqualFold(value, []byte("websocket"))
		case bytes.EqualFold(name, []byte("Connection")):
			connection = connection || HasToken(value, "upgrade")
		case bytes.EqualFold(name, []byte("Sec-WebSocket-Accept")):
			if accept = string(value) == Accept; !accept {
				return 0, errAccept
			}
		case bytes.EqualFold(name, []byte("Sec-WebSocket-Extensions")):
			if !deflate {
				return 0, errOffer
			}
			agreed = agreesToDeflate(value)
		case bytes.EqualFold(name, []byte("Sec-WebSocket-Protocol")):
			chosen = string(value)
		}
	}
	switch {
	case !upgrade || !connection:
		return 0, errUpgr
	case !accept:
		return 0, errAccept
	case chosen != "" && chosen != subprotocol:
		return 0, errOffer
	case chosen != subprotocol:
		return 0, errNoProtocol
	case deflate && !agreed:
		return 0, errNoDeflate
	}
	return n, nil
}

// parseHead returns the fields of the response head at the start of p, as lines
// with their ends, and how many bytes the head takes, 0 if p does not hold all of
// it yet. Any status but the one that is wanted is a *StatusError.
func parseHead(p []byte, status int) (fields []byte, n int, err error) {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		if len(p) > maxHead {
			return nil, 0, errHead
		}
		return nil, 0, nil
	}
	line, fields, _ := bytes.Cut(p[:end+2], []byte("\r\n"))
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) || len(line) < 12 {
		return nil, 0, errHead
	}
	code := 0
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return nil, 0, errHead
		}
		code = code*10 + int(c-'0')
	}
	if code != status {
		return nil, 0, &StatusError{code}
	}
	return fields, end + 4, nil
}

// HasToken says whether a header that is a list, such as Connection, has a token
// in it, in upper or lower case (RFC 9110 §5.6.1).
func HasToken(value []byte, token string) bool {
	for t := range bytes.SplitSeq(value, []byte(",")) {
		if bytes.EqualFold(bytes.TrimSpace(t), []byte(token)) {
			return true
		}
	}
	return false
}
