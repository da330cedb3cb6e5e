package session

import (
	"encoding/base64"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"

	"belfry/message"
	"belfry/ws"
)

// V1 is the encoding of the subprotocol belfry.v1: one JSON object in each
// text frame, as docs/protocol.md specifies. v1command.go reads what clients
// say in it.
//
// The objects are written by hand: a message is encoded into a buffer that
// the caller reuses, and nothing is allocated but that buffer's growth.
type V1 struct{}

var _ Encoding = V1{}

// Name returns "belfry.v1".
func (V1) Name() string { return "belfry.v1" }

// Subprotocol returns "belfry.v1".
func (V1) Subprotocol() string { return "belfry.v1" }

// AppendMessage appends a "msg". A text payload becomes a JSON string, a
// binary one base64 marked with "binary":true. A byte of a text payload that
// is not UTF-8 becomes U+FFFD, since the envelope is a text frame itself.
func (V1) AppendMessage(dst []byte, m *message.Message) []byte {
	dst, start := openFrame(dst, messageSize(m))
	dst = append(dst, `{"type":"msg"`...)
	if m.ID != "" {
		dst = append(dst, `,"id":`...)
		dst = appendJSONString(dst, m.ID)
	}
	if m.Target.Scope == message.ScopeTopics {
		dst = appendTopics(dst, m.Target.Names)
	}
	if m.Kind == message.Binary {
		dst = append(dst, `,"binary":true,"data":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, m.Payload)
		dst = append(dst, '"')
	} else {
		dst = append(dst, `,"data":`...)
		dst = appendJSONString(dst, m.Payload)
	}
	return closeFrame(append(dst, '}'), start)
}

// AppendHello appends a "hello".
func (V1) AppendHello(dst []byte, h *Hello) []byte {
	dst, start := openFrame(dst, 128+len(h.UID))
	dst = append(dst, `{"type":"hello","session":`...)
	dst = appendJSONString(dst, h.Session)
	if h.UID != "" {
		dst = append(dst, `,"uid":`...)
		dst = appendJSONString(dst, h.UID)
	}
	if len(h.Topics) > 0 {
		dst = append(dst, `,"topics":`...)
		dst = appendJSONStrings(dst, h.Topics)
	}
	dst = append(dst, `,"ping":`...)
	dst = appendSeconds(dst, h.PingInterval)
	dst = append(dst, `,"pong":`...)
	dst = appendSeconds(dst, h.PongTimeout)
	return closeFrame(append(dst, '}'), start)
}

// AppendBye appends a "bye".
func (V1) AppendBye(dst []byte, b *Bye) []byte {
	dst, start := openFrame(dst, 128)
	dst = append(dst, `{"type":"bye","code":`...)
	dst = strconv.AppendUint(dst, uint64(b.Code), 10)
	dst = append(dst, `,"reason":`...)
	dst = appendJSONString(dst, b.Reason)
	dst = append(dst, `,"reconnect":`...)
	dst = strconv.AppendBool(dst, b.Reconnect)
	dst = append(dst, `,"after":`...)
	dst = appendSeconds(dst, b.After)
	return closeFrame(append(dst, '}'), start)
}

// AppendReply appends an "ack", or an "err" if r.Err is set. A Ref is the JSON
// token that ParseCommand returned and is written as it is.
func (V1) AppendReply(dst []byte, r *Reply) []byte {
	dst, start := openFrame(dst, 128)
	if r.Err == nil {
		dst = append(dst, `{"type":"ack"`...)
		dst = appendRef(dst, r.Ref)
		if r.ID != "" {
			dst = append(dst, `,"id":`...)
			dst = appendJSONString(dst, r.ID)
		}
		return closeFrame(append(dst, '}'), start)
	}
	ref := r.Ref
	if ref == "" {
		ref = r.Err.Ref
	}
	dst = append(dst, `{"type":"err"`...)
	dst = appendRef(dst, ref)
	dst = append(dst, `,"code":`...)
	dst = appendJSONString(dst, r.Err.Code)
	if r.Err.Field != "" {
		dst = append(dst, `,"field":`...)
		dst = appendJSONString(dst, r.Err.Field)
	}
	dst = append(dst, `,"message":`...)
	dst = appendJSONString(dst, r.Err.Text)
	return closeFrame(append(dst, '}'), start)
}

// maxFrameHeader is the longest header of an unmasked frame (RFC 6455 §5.2):
// two bytes and a 64-bit length.
const maxFrameHeader = 10

// openFrame leaves room at the end of dst for a frame's header and for about
// size bytes after it. The caller appends the payload and calls closeFrame.
func openFrame(dst []byte, size int) (grown []byte, start int) {
	start = len(dst)
	dst = slices.Grow(dst, maxFrameHeader+size)
	return dst[:start+maxFrameHeader], start
}

// closeFrame makes a text frame of what was appended since openFrame. The
// header is as long as the length that only now is known demands, so
// AppendFrame moves the payload down within dst: it writes at most
// maxFrameHeader bytes before the payload, and copies with append, which
// allows overlap.
func closeFrame(dst []byte, start int) []byte {
	return ws.AppendFrame(dst[:start], ws.OpText, dst[start+maxFrameHeader:])
}

// messageSize guesses the length of a "msg" so that dst grows once: text with
// few escapes fits, and so does any binary payload.
func messageSize(m *message.Message) int {
	n := 80 + len(m.ID)
	if m.Target.Scope == message.ScopeTopics {
		for _, name := range m.Target.Names {
			n += len(name) + 3
		}
	}
	if m.Kind == message.Binary {
		return n + base64.StdEncoding.EncodedLen(len(m.Payload))
	}
	return n + len(m.Payload) + len(m.Payload)/8
}

func appendTopics(dst []byte, names []string) []byte {
	if len(names) == 1 {
		dst = append(dst, `,"topic":`...)
		return appendJSONString(dst, names[0])
	}
	dst = append(dst, `,"topics":`...)
	return appendJSONStrings(dst, names)
}

func appendRef(dst []byte, ref string) []byte {
	if ref == "" {
		return dst
	}
	dst = append(dst, `,"ref":`...)
	return append(dst, ref...)
}

// appendSeconds writes d in seconds with as many decimals as it has.
func appendSeconds(dst []byte, d time.Duration) []byte {
	return strconv.AppendFloat(dst, d.Seconds(), 'f', -1, 64)
}

func appendJSONStrings(dst []byte, list []string) []byte {
	dst = append(dst, '[')
	for i, s := range list {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendJSONString(dst, s)
	}
	return append(dst, ']')
}

// appendJSONString writes s as a JSON string (RFC 8259 §7). U+2028 and U+2029
// are escaped because they end a line in older JavaScript, and a byte that is
// not UTF-8 becomes U+FFFD, as encoding/json does both.
func appendJSONString[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	done := 0 // everything before it is written
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= ' ' && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = append(dst, s[done:i]...)
			dst = appendEscape(dst, c)
			i++
			done = i
			continue
		}
		// Converting at most four bytes keeps the string on the stack.
		r, size := utf8.DecodeRuneInString(string(s[i:min(i+utf8.UTFMax, len(s))]))
		switch {
		case r == utf8.RuneError && size == 1:
			dst = append(dst, s[done:i]...)
			dst = append(dst, `\ufffd`...)
			done = i + size
		case r == '\u2028' || r == '\u2029':
			dst = append(dst, s[done:i]...)
			dst = append(dst, `\u202`...)
			dst = append(dst, '8'+byte(r-'\u2028'))
			done = i + size
		}
		i += size
	}
	dst = append(dst, s[done:]...)
	return append(dst, '"')
}

// appendEscape writes the escape of a control character, a quote or a
// backslash.
func appendEscape(dst []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&0xf])
}
