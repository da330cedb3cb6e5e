package bench

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
)

// Key and Accept are the example pair of RFC 6455 §1.3. Every connection of
// the generator uses them, so that neither it nor the floor spends time on
// random numbers and SHA-1; a server has to compute.
const (
	Key    = "dGhlIHNhbXBsZSBub25jZQ=="
	Accept = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
)

// maxHead is the longest response head taken, in bytes.
const maxHead = 8 << 10

// UID returns the 16-byte user id of the i-th connection.
func UID(i int) string { return fmt.Sprintf("u%015d", i) }

// Topic returns the topic of the i-th connection, one of n.
func Topic(i, n int) string { return "bench." + strconv.Itoa(i%n) }

// AppendRequest appends the upgrade request of one connection. An empty topic
// asks for none.
func AppendRequest(dst []byte, host, path, uid, topic string) []byte {
	dst = append(dst, "GET "...)
	dst = append(dst, path...)
	dst = append(dst, "?uid="...)
	dst = append(dst, uid...)
	if topic != "" {
		dst = append(dst, "&topic="...)
		dst = append(dst, topic...)
	}
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, host...)
	return append(dst, "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: "+Key+"\r\nSec-WebSocket-Version: 13\r\n\r\n"...)
}

// StatusError is a response other than 101.
type StatusError struct{ Code int }

func (e *StatusError) Error() string { return "status " + strconv.Itoa(e.Code) }

var (
	errHead   = errors.New("malformed response head")
	errAccept = errors.New("wrong Sec-WebSocket-Accept")
	errUpgr   = errors.New("101 without Upgrade: websocket and Connection: Upgrade")
	errOffer  = errors.New("extension or subprotocol that was not asked for")
)

// ParseResponse checks the answer to AppendRequest at the start of p and says
// how many bytes it takes, 0 if p does not hold all of it yet.
func ParseResponse(p []byte) (n int, err error) {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		if len(p) > maxHead {
			return 0, errHead
		}
		return 0, nil
	}
	line, rest, _ := bytes.Cut(p[:end+2], []byte("\r\n"))
	if !bytes.HasPrefix(line, []byte("HTTP/1.1 ")) || len(line) < 12 {
		return 0, errHead
	}
	code := 0
	for _, c := range line[9:12] {
		if c < '0' || c > '9' {
			return 0, errHead
		}
		code = code*10 + int(c-'0')
	}
	if code != 101 {
		return 0, &StatusError{code}
	}
	var upgrade, connection, accept bool
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
			connection = bytes.EqualFold(value, []byte("upgrade"))
		case bytes.EqualFold(name, []byte("Sec-WebSocket-Accept")):
			if accept = string(value) == Accept; !accept {
				return 0, errAccept
			}
		case bytes.EqualFold(name, []byte("Sec-WebSocket-Extensions")),
			bytes.EqualFold(name, []byte("Sec-WebSocket-Protocol")):
			return 0, errOffer
		}
	}
	switch {
	case !upgrade || !connection:
		return 0, errUpgr
	case !accept:
		return 0, errAccept
	}
	return end + 4, nil
}
