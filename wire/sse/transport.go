// Package sse is the transport of Server-Sent Events (WHATWG HTML, §9.2): a
// response that does not end, in which each payload is an event. It is one way
// only: a client cannot answer.
package sse

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"time"

	"belfry/message"
	"belfry/wire"
	"belfry/ws"
)

// Transport implements wire.Transport.
type Transport struct {
	// Retry is how long a client waits before it connects again when the
	// connection was lost; 0: DefaultRetry.
	Retry time.Duration
}

// DefaultRetry is the default of Transport.Retry.
const DefaultRetry = 3 * time.Second

// noReconnect is the wait advised to clients that are not to come back.
// EventSource knows no other way to say it on a response that has begun.
const noReconnect = time.Hour

var _ wire.Transport = (*Transport)(nil)

// Name returns "sse".
func (*Transport) Name() string { return "sse" }

// Answers returns false.
func (*Transport) Answers() bool { return false }

// AppendAccept appends the response's head and the wait before reconnecting.
// The response ends with the connection (RFC 9112 §6.3, rule 8): chunks would
// add bytes to each event and nothing else. nginx does not buffer it because
// of X-Accel-Buffering. A page of another origin may read it, since session
// has found its origin allowed.
func (t *Transport) AppendAccept(dst []byte, r *ws.Request) []byte {
	dst = append(dst, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache, no-transform\r\nX-Accel-Buffering: no\r\nConnection: close\r\n"...)
	if origin := r.Origin(); len(origin) > 0 {
		dst = append(dst, "Access-Control-Allow-Origin: "...)
		dst = append(dst, origin...)
		dst = append(dst, "\r\nAccess-Control-Allow-Credentials: true\r\nVary: Origin\r\n"...)
	}
	dst = append(dst, "\r\n"...)
	retry := t.Retry
	if retry == 0 {
		retry = DefaultRetry
	}
	return appendRetry(dst, retry)
}

// AppendRefusal answers what may be different later (429, 500 and above) with a
// response that ends at once and says when to come back: for any status but 200
// a browser's EventSource gives up for good.
func (*Transport) AppendRefusal(dst, accept []byte, r *ws.Refusal, date []byte) []byte {
	if len(accept) == 0 || r.Status < 500 && r.Status != 429 {
		return ws.AppendRefusal(dst, r, date)
	}
	dst = append(dst, accept...)
	dst = appendComment(dst, strconv.Itoa(r.Status)+" "+r.Detail)
	if r.RetryAfter > 0 {
		dst = appendRetry(dst, r.RetryAfter)
	}
	return dst
}

// AppendFrame appends one event. Its type is the topic, and "message" for what
// goes to users, sessions or all. Text is one data line for each of its lines,
// and CR and CRLF arrive as LF. Binary payloads are base64, and ";base64" is
// added to the type: no topic can hold a semicolon, and a page that does not
// know of them gets none.
func (*Transport) AppendFrame(dst []byte, p wire.Payload) []byte {
	if p.ID != "" && !strings.ContainsAny(p.ID, "\r\n\x00") {
		dst = append(dst, "id: "...)
		dst = append(dst, p.ID...)
		dst = append(dst, '\n')
	}
	event := p.Event
	if event == "" && p.Kind == message.Binary {
		event = "message"
	}
	if event != "" {
		dst = append(dst, "event: "...)
		dst = append(dst, event...)
		if p.Kind == message.Binary {
			dst = append(dst, ";base64"...)
		}
		dst = append(dst, '\n')
	}
	if p.Kind == message.Binary {
		dst = append(dst, "data: "...)
		dst = base64.StdEncoding.AppendEncode(dst, p.Data)
		return append(dst, "\n\n"...)
	}
	return append(appendLines(dst, p.Data), '\n')
}

// appendLines appends text as data lines.
func appendLines(dst, text []byte) []byte {
	for {
		end := bytes.IndexAny(text, "\r\n")
		if end < 0 {
			break
		}
		dst = appendLine(dst, text[:end])
		if text[end] == '\r' && end+1 < len(text) && text[end+1] == '\n' {
			end++
		}
		text = text[end+1:]
	}
	return appendLine(dst, text)
}

func appendLine(dst, line []byte) []byte {
	dst = append(dst, "data: "...)
	dst = append(dst, line...)
	return append(dst, '\n')
}

// AppendPing appends an empty comment.
func (*Transport) AppendPing(dst []byte) []byte { return append(dst, ":\n"...) }

// AppendPong appends nothing: there are no pings of clients.
func (*Transport) AppendPong(dst, _ []byte) []byte { return dst }

// AppendClose appends when to come back, and for people why.
func (*Transport) AppendClose(dst []byte, c *wire.Close) []byte {
	dst = appendComment(dst, strconv.Itoa(int(c.Code))+" "+c.Text)
	if !c.Reconnect {
		return appendRetry(dst, noReconnect)
	}
	if c.After > 0 {
		return appendRetry(dst, c.After)
	}
	return append(dst, '\n')
}

// AppendCloseReply appends nothing: clients cannot close but by going.
func (*Transport) AppendCloseReply(dst []byte, _ uint16) []byte { return dst }

// NewDecoder returns a decoder that discards what a client sends behind its
// request.
func (*Transport) NewDecoder() wire.Decoder { return discard{} }

type discard struct{}

func (discard) Next(p []byte, _ *ws.Inbound, _ ws.Limits) (int, ws.Event, error) {
	return len(p), ws.Event{}, nil
}

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
