// Package v1 is the encoding of the subprotocol belfry.v1: each payload is text
// with one JSON object, as docs/protocol.md specifies. command.go reads the
// objects of clients.
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

var _ wire.Encoding = Encoding{}

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
	if m.Kind == message.Binary {
		dst = append(dst, `,"binary":true,"data":"`...)
		dst = base64.StdEncoding.AppendEncode(dst, m.Payload)
		dst = append(dst, '"')
	} else {
		dst = append(dst, `,"data":`...)
		dst = strictjson.AppendString(dst, m.Payload)
	}
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

// Reply writes an "ack", or an "err" if r.Err is set. Ref is the JSON token from
// Command, written unchanged.
func (Encoding) Reply(w *wire.Writer, r *wire.Reply) {
	if r.Err == nil {
		dst := append(w.Buffer(), `{"type":"ack"`...)
		dst = appendRef(dst, r.Ref)
		if r.ID != "" {
			dst = append(dst, `,"id":`...)
			dst = strictjson.AppendString(dst, r.ID)
		}
		say(w, dst)
		return
	}
	ref := r.Ref
	if ref == "" {
		ref = r.Err.Ref
	}
	dst := append(w.Buffer(), `{"type":"err"`...)
	dst = appendRef(dst, ref)
	dst = append(dst, `,"code":`...)
	dst = strictjson.AppendString(dst, r.Err.Code)
	if r.Err.Field != "" {
		dst = append(dst, `,"field":`...)
		dst = strictjson.AppendString(dst, r.Err.Field)
	}
	dst = append(dst, `,"message":`...)
	dst = strictjson.AppendString(dst, r.Err.Text)
	say(w, dst)
}

// say appends the last brace to the object in dst and writes it.
func say(w *wire.Writer, dst []byte) {
	w.FrameBuffer(wire.Payload{Kind: message.Text, Data: append(dst, '}')})
}

// messageSize estimates the length of a "msg", so that dst grows once. The estimate
// is enough for text with few escapes and for any binary payload.
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
		return strictjson.AppendString(dst, names[0])
	}
	dst = append(dst, `,"topics":`...)
	return strictjson.AppendStrings(dst, names)
}

func appendRef(dst []byte, ref string) []byte {
	if ref == "" {
		return dst
	}
	dst = append(dst, `,"ref":`...)
	return append(dst, ref...)
}

// appendSeconds writes d in seconds, with as many decimals as needed.
func appendSeconds(dst []byte, d time.Duration) []byte {
	return strconv.AppendFloat(dst, d.Seconds(), 'f', -1, 64)
}
