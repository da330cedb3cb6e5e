package main

import (
	"bytes"
	"fmt"
	"unicode"
	"unicode/utf16"
	"unicode/utf8"

	"go.uber.org/zap/buffer"
	"go.uber.org/zap/zapcore"
)

// escapingEncoder escapes characters that zap does not escape and that control
// a terminal, because lines contain texts of clients (an Origin, a uid), of
// other nodes and of NATS. U+0080 to U+009F control terminals as ESC does,
// U+202E reverses the text after it, and the console encoder writes messages
// without any escapes.
type escapingEncoder struct{ zapcore.Encoder }

// Clone implements zapcore.Encoder.
func (e escapingEncoder) Clone() zapcore.Encoder { return escapingEncoder{e.Encoder.Clone()} }

// EncodeEntry implements zapcore.Encoder.
func (e escapingEncoder) EncodeEntry(entry zapcore.Entry, fields []zapcore.Field) (*buffer.Buffer, error) {
	if !ascii(entry.Message) { // before it is encoded: a line break would begin another line
		entry.Message = string(appendEscaped(nil, entry.Message))
	}
	line, err := e.Encoder.EncodeEntry(entry, fields)
	if err != nil {
		return line, err
	}
	text := line.Bytes()
	if end := len(text) - 1; end >= 0 && !ascii(text[:end]) {
		clean := append(appendEscaped(nil, text[:end]), text[end])
		line.Reset()
		_, err = line.Write(clean)
	}
	return line, err
}

// ascii says whether all of text is printable ASCII.
func ascii[T string | []byte](text T) bool {
	for i := range len(text) {
		if text[i] < ' ' || text[i] > '~' {
			return false
		}
	}
	return true
}

// appendEscaped appends text with \u escapes for characters that are not
// visible. They mean the same in a JSON string.
func appendEscaped[T string | []byte](dst []byte, text T) []byte {
	for _, r := range string(text) {
		switch {
		case unicode.IsPrint(r):
			dst = utf8.AppendRune(dst, r)
		case r > 0xFFFF:
			high, low := utf16.EncodeRune(r)
			dst = fmt.Appendf(dst, `\u%04x\u%04x`, high, low)
		default:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		}
	}
	return dst
}

// tame makes text safe for a terminal: it keeps lines and tabs and escapes all
// other control characters, so that a publisher cannot control the terminal of
// a subscriber.
func tame(text []byte) (out []byte) {
	for {
		n := bytes.IndexAny(text, "\n\t")
		if n < 0 {
			return appendEscaped(out, text)
		}
		out = append(appendEscaped(out, text[:n]), text[n])
		text = text[n+1:]
	}
}
