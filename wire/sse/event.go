package sse

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"belfry/message"
	"belfry/wire"
)

// Base64 is what follows the type of an event whose data is base64 (RFC 4648
// §4) of a binary payload. No topic has a semicolon, so a listener for a topic
// is never given base64 that it takes for text.
const Base64 = ";base64"

// defaultType is the type of an event without a field "event".
const defaultType = "message"

// appendEvent appends one event. Its id is the message's, its type is the topic
// ("message" if there is none), and its data is the payload: text as one data
// line for each of its lines, binary as base64. A client joins data lines with
// LF, so CR and CRLF in a text arrive as LF.
//
// An id or type that would end its line, and an id that clients ignore because
// it has a NUL, is left out.
func appendEvent(dst []byte, p *wire.Payload) []byte {
	binary := p.Kind == message.Binary
	size := len(p.Data)
	if binary {
		size = base64.StdEncoding.EncodedLen(size)
	}
	dst = slices.Grow(dst, size+len(p.ID)+len(p.Event)+48) // 48: names of fields, line ends
	if p.ID != "" && fits(p.ID) {
		dst = appendField(dst, "id", p.ID)
	}
	event := p.Event
	if !fits(event) {
		event = ""
	}
	switch {
	case binary && event == "":
		dst = appendField(dst, "event", defaultType+Base64)
	case binary:
		dst = append(dst, "event: "...)
		dst = append(dst, event...)
		dst = append(dst, Base64+"\n"...)
	case event != "":
		dst = appendField(dst, "event", event)
	}
	if binary {
		dst = append(dst, "data: "...)
		dst = base64.StdEncoding.AppendEncode(dst, p.Data)
		return append(dst, "\n\n"...)
	}
	return append(appendText(dst, p.Data), '\n')
}

// fits says whether a value can stand in a line.
func fits(value string) bool { return !strings.ContainsAny(value, "\r\n\x00") }

// appendText appends text as data lines. Lines end at LF, CRLF or CR.
func appendText(dst, text []byte) []byte {
	for more := true; more; {
		var line []byte
		if line, text, more = bytes.Cut(text, []byte("\n")); more {
			line = bytes.TrimSuffix(line, []byte("\r"))
		}
		for found := true; found; {
			var part []byte
			part, line, found = bytes.Cut(line, []byte("\r"))
			dst = appendField(dst, "data", part)
		}
	}
	return dst
}

// appendField appends one line. A client removes one space after the colon, so
// a value may begin with one.
func appendField[V string | []byte](dst []byte, name string, value V) []byte {
	dst = append(dst, name...)
	dst = append(dst, ": "...)
	dst = append(dst, value...)
	return append(dst, '\n')
}

// appendRetry appends the wait before a client reconnects, in milliseconds.
func appendRetry(dst []byte, d time.Duration) []byte {
	dst = append(dst, "retry: "...)
	dst = strconv.AppendInt(dst, d.Milliseconds(), 10)
	return append(dst, "\n\n"...)
}

// appendComment appends one line that clients ignore.
func appendComment(dst []byte, text string) []byte {
	dst = append(dst, ": "...)
	for i := range len(text) {
		if c := text[i]; c == '\r' || c == '\n' {
			dst = append(dst, ' ')
		} else {
			dst = append(dst, c)
		}
	}
	return append(dst, '\n')
}
