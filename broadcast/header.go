package broadcast

import (
	"strings"

	"github.com/nats-io/nats.go"
)

// shortestHeader is the length of the shortest valid Belfry- header line. The
// blanks that nats.go removes from headers are fewer bytes.
const shortestHeader = len("Belfry-Id:x\r\n")

// checkDecoded refuses a message if nats.go did not read all its headers.
// nats.go delivers a message with a broken header block as if it had no headers,
// and stops reading at the first empty line. If Belfry-Exclude were lost, the
// one session that must not receive the message would receive it.
func checkDecoded(m *nats.Msg) error {
	block := m.Size() - len(m.Subject) - len(m.Reply) - len(m.Data)
	read := 0
	if m.Header != nil {
		read = len("NATS/1.0\r\n\r\n")
	}
	for name, values := range m.Header {
		for _, v := range values {
			read += len(name) + len(": ") + len(v) + len("\r\n")
		}
	}
	if block-read >= shortestHeader || block > 0 && m.Header == nil {
		return bad("headers", "cannot be read; allowed is NATS/1.0 and lines of name: value, up to the first empty line")
	}
	return nil
}

// checkHeaders refuses misspelt headers. NATS header names are case-sensitive,
// and it is better to drop a push than to deliver it to too many clients. fromNode
// allows unknown headers: a node of a later version may send them.
func checkHeaders(h nats.Header, fromNode bool) error {
	for name := range h {
		trimmed := strings.TrimSpace(name) // nats.go leaves blanks before and after a name
		if len(trimmed) < len(headerPrefix) || !strings.EqualFold(trimmed[:len(headerPrefix)], headerPrefix) {
			continue
		}
		if trimmed != name {
			return bad(trimmed, "blanks before or after the name")
		}
		switch name {
		case headerID, headerKind, headerExclude, headerExcept, headerOp, headerKey, headerTopic, headerUser, headerSession, headerNode, headerSeq, headerReport:
		default:
			if !fromNode {
				return bad(name, "unknown header; names are case-sensitive")
			}
		}
	}
	return nil
}
