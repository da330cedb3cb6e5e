// Package v1 is the encoding of the subprotocol belfry.v1: each payload is text
// with one JSON object, as docs/protocol.md specifies. command.go and backend.go
// read the objects of clients, reply.go writes the answers.
//
// The code writes objects without encoding/json: it builds them in a buffer that
// is reused, and allocates only when the buffer grows.
package v1

import (
	"encoding/base64"
	"slices"
	"strconv"
	"time"

	"belfry/message"
	"belfry/message/strictjson"
	"belfry/wire"
)

// Name is the name of the encoding and of its subprotocol.
const Name = "belfry.v1"

// Encoding implements wire.Encoding.
type Encoding struct {
	// MaxTokens limits the JSON tokens of the objects and arrays in a command; 0:
	// 1024. A command with as many names as are allowed has 261. Without a limit,
	// 64 KiB of small members would take 20 times as long, and with deflate they
	// come in 200 bytes.
	MaxTokens int
}

var _ wire.Acknowledger = Encoding{}

// Acknowledges implements wire.Acknowledger.
func (Encoding) Acknowledges() {}

// Name returns "belfry.v1".
func (Encoding) Name() string { return Name }

// Message writes a "msg". A text payload becomes a JSON string. A binary payload
// becomes base64, marked with "binary":true. A byte of text that is not UTF-8
// becomes U+FFFD, because JSON has to be UTF-8.
func (Encoding) Message(w *wire.Writer, m *message.Message) {
	dst := slices.Grow(w.Buffer(), messageSize(m))
	dst = append(dst, `{"type":"msg"`...)
	if m.ID != "" {
		dst = append(dst, `,"id":`...)
		dst = strictjson.AppendString(dst, m.ID)
	}
	if m.Target.Scope == message.ScopeTopics {
		dst = appendTopics(dst, m.Target.Names)
	}
	if m.Report != nil && m.Report.Ack && m.ID != "" {
		dst = append(dst, `,"ack":true`...)
	}
	dst = appendData(dst, m.Kind, m.Payload)
	// Payload.Event stays empty, because the object has the topic: in an event
	// stream one handler gets all objects.
	w.FrameBuffer(wire.Payload{Kind: message.Text, Data: append(dst, '}'), ID: m.ID})
}

// Hello writes a "hello".
func (Encoding) Hello(w *wire.Writer, h *wire.Hello) {
	dst := append(w.Buffer(), `{"type":"hello","session":`...)
	dst = strictjson.AppendString(dst, h.Session())
	if h.UID != "" {
		dst = append(dst, `,"uid":`...)
		dst = strictjson.AppendString(dst, h.UID)
	}
	if len(h.Topics) > 0 {
		dst = append(dst, `,"topics":`...)
		dst = strictjson.AppendStrings(dst, h.Topics)
	}
	dst = append(dst, `,"ping":`...)
	dst = appendSeconds(dst, h.PingInterval)
	dst = append(dst, `,"pong":`...)
	dst = appendSeconds(dst, h.PongTimeout)
	dst = appendExpires(dst, h.Expires)
	dst = appendRef(dst, h.Ref)
	say(w, dst)
}

// Bye writes a "bye".
func (Encoding) Bye(w *wire.Writer, b *wire.Bye) {
	dst := append(w.Buffer(), `{"type":"bye","code":`...)
	dst = strconv.AppendUint(dst, uint64(b.Code), 10)
	dst = append(dst, `,"reason":`...)
	dst = strictjson.AppendString(dst, b.Reason)
	dst = append(dst, `,"reconnect":`...)
	dst = strconv.AppendBool(dst, b.Reconnect)
	dst = append(dst, `,"after":`...)
	dst = appendSeconds(dst, b.After)
	say(w, dst)
}

// say appends the last brace to the object in dst and writes it.
func say(w *wire.Writer, dst []byte) {
	w.FrameBuffer(wire.Payload{Kind: message.Text, Data: append(dst, '}')})
}

// messageSize estimates the length of a "msg", so that dst grows once. The estimate
// is enough for text with few escapes and for any binary payload.
func messageSize(m *message.Message) int {
	n := 96 + len(m.ID)
	if m.Target.Scope == message.ScopeTopics {
		for _, name := range m.Target.Names {
			n += len(name) + 3
		}
	}
	return n + dataSize(m.Kind, m.Payload)
}

func dataSize(k message.Kind, p []byte) int {
	if k == message.Binary {
		return base64.StdEncoding.EncodedLen(len(p))
	}
	return len(p) + len(p)/8
}

// appendData writes a payload: text as a string, binary as base64.
func appendData(dst []byte, k message.Kind, p []byte) []byte {
	if k == message.Binary {
		dst = append(dst, `,"binary":true,"data":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, p)
		return append(dst, '"')
	}
	dst = append(dst, `,"data":`...)
	return strictjson.AppendString(dst, p)
}

func appendTopics(dst []byte, names []string) []byte {
	if len(names) == 1 {
		dst = append(dst, `,"topic":`...)
		return strictjson.AppendString(dst, names[0])
	}
	dst = append(dst, `,"topics":`...)
	return strictjson.AppendStrings(dst, names)
}

// appendSeconds writes d in seconds, with as many decimals as needed.
func appendSeconds(dst []byte, d time.Duration) []byte {
	return strconv.AppendFloat(dst, d.Seconds(), 'f', -1, 64)
}
