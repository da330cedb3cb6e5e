package broadcast

import (
	"strings"

	"github.com/nats-io/nats.go"
)

// shortestHeader is the length of the shortest header line that says anything
// here. nats.go takes further blanks out of headers, but not as many.
const shortestHeader = len("Belfry-Id:x\r\n")

// checkDecoded refuses a message of which nats.go did not read all headers: it
// delivers one whose header block is broken as if it had none, and stops at the
// first empty line. An Exclude that gets lost sends the message to the one
// session that must not have it.
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

// checkHeaders refuses misspelt headers: NATS header names are case-sensitive
// and a push that reaches more people than meant is worse than none.
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
		case headerID, headerKind, headerExclude, headerExcept, headerOp, headerKey, headerTopic, headerUser, headerSession, headerNode, headerSeq:
		default:
			if !fromNode {
				return bad(name, "unknown header; names are case-sensitive")
			}
		}
	}
	return nil
}
