// Package sse is the transport of Server-Sent Events (WHATWG HTML, section
// "Server-sent events"): a response that does not end, in which each payload is
// an event. It goes one way only: a client cannot answer.
package sse

import (
	"net/http"
	"strconv"
	"time"

	"belfry/wire"
	"belfry/ws"
)

// Transport implements wire.Transport.
type Transport struct {
	// Retry is how long a client waits before it connects again after its
	// connection was lost; 0: DefaultRetry.
	Retry time.Duration
}

// DefaultRetry is the default of Transport.Retry.
const DefaultRetry = 3 * time.Second

// noReconnect is the wait advised to a client that should stay away. A response
// that has begun has no way to forbid an EventSource to come back.
const noReconnect = time.Hour

var _ wire.Transport = (*Transport)(nil)

// Name returns "sse".
func (*Transport) Name() string { return "sse" }

// Answers returns false.
func (*Transport) Answers() bool { return false }

// acceptHead is the head of the response without the fields that differ.
//
// There is no Content-Length and no chunk: the body ends with the connection
// (RFC 9112 §6.3, rule 8). Chunks would add bytes to each event and a last one
// to each end. X-Accel-Buffering tells nginx to pass each event on at once,
// no-transform keeps proxies from compressing, and so from collecting, events.
const acceptHead = "HTTP/1.1 200 OK\r\n" +
	"Content-Type: text/event-stream\r\n" +
	"Cache-Control: no-store, no-transform\r\n" +
	"X-Accel-Buffering: no\r\n" +
	"X-Content-Type-Options: nosniff\r\n" +
	"Vary: Origin\r\n" +
	"Connection: close\r\n"

// AppendAccept appends the head of the response, and the wait before a client
// reconnects. A page of another origin may read the response and may send its
// cookies, because the caller refuses origins that are not allowed.
func (t *Transport) AppendAccept(dst []byte, r *ws.Request) []byte {
	dst = append(dst, acceptHead...)
	dst = append(dst, "Date: "...)
	dst = time.Now().UTC().AppendFormat(dst, http.TimeFormat)
	if origin := r.Origin(); len(origin) > 0 {
		dst = append(dst, "\r\nAccess-Control-Allow-Origin: "...)
		dst = append(dst, origin...)
		dst = append(dst, "\r\nAccess-Control-Allow-Credentials: true"...)
	}
	dst = append(dst, "\r\n\r\n"...)
	retry := t.Retry
	if retry == 0 {
		retry = DefaultRetry
	}
	return appendRetry(dst, retry)
}

// AppendRefusal appends what refuses a request. A refusal that may be gone
// later (500 and above, or with a time to try again) is a stream that says when
// to come back and ends: after any status but 200 an EventSource gives up for
// good, and a node that is full or restarts would lose its clients.
func (*Transport) AppendRefusal(dst, accept []byte, r *ws.Refusal, date []byte) []byte {
	if len(accept) == 0 || r.Status < 500 && r.RetryAfter == 0 {
		return ws.AppendRefusal(dst, r, date)
	}
	dst = append(dst, accept...)
	dst = appendComment(dst, strconv.Itoa(r.Status)+" "+r.Detail)
	if r.RetryAfter > 0 {
		dst = appendRetry(dst, r.RetryAfter)
	}
	return dst
}

// AppendFrame appends one event; event.go says how it looks.
func (*Transport) AppendFrame(dst []byte, p wire.Payload) []byte { return appendEvent(dst, &p) }

// AppendPing appends an empty comment.
func (*Transport) AppendPing(dst []byte) []byte { return append(dst, ":\n"...) }

// AppendPong appends nothing: clients send no pings.
func (*Transport) AppendPong(dst, _ []byte) []byte { return dst }

// AppendClose appends when to come back, and for people a comment that says
// why. The end of the connection follows.
func (*Transport) AppendClose(dst []byte, c *wire.Close) []byte {
	dst = appendComment(dst, strconv.Itoa(int(c.Code))+" "+c.Text)
	switch {
	case !c.Reconnect:
		return appendRetry(dst, noReconnect)
	case c.After > 0:
		return appendRetry(dst, c.After)
	}
	return dst // the wait of AppendAccept holds
}

// AppendCloseReply appends nothing: a client closes by ending the connection.
func (*Transport) AppendCloseReply(dst []byte, _ uint16) []byte { return dst }

// NewDecoder returns a decoder that discards what a client sends behind its
// request.
func (*Transport) NewDecoder() wire.Decoder { return discard{} }

type discard struct{}

func (discard) Next(p []byte, _ *ws.Inbound, _ ws.Limits) (int, ws.Event, error) {
	return len(p), ws.Event{}, nil
}
