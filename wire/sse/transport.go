// Package sse is the transport of Server-Sent Events (WHATWG HTML, section
// "Server-sent events"): each payload is an event in a response without end.
// Clients can only receive.
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
	// Retry is the time after which a client reconnects when it has lost its
	// connection; 0: defaultRetry.
	Retry time.Duration
}

// defaultRetry is the default of Transport.Retry.
const defaultRetry = 3 * time.Second

// noReconnect is the time for a client that should not reconnect. After the start
// of a response nothing can forbid an EventSource to reconnect.
const noReconnect = time.Hour

var _ wire.Transport = (*Transport)(nil)

// Name returns "sse".
func (*Transport) Name() string { return "sse" }

// Answers returns false.
func (*Transport) Answers() bool { return false }

// acceptHead is the constant part of the response's head.
//
// It has no Content-Length and no Transfer-Encoding: the content ends with the
// connection (RFC 9112 §6.3, rule 8). Chunks would add bytes to each event.
// X-Accel-Buffering makes nginx forward each event at once. With no-transform,
// proxies do not compress the stream, for which they would collect events.
const acceptHead = "HTTP/1.1 200 OK\r\n" +
	"Content-Type: text/event-stream\r\n" +
	"Cache-Control: no-store, no-transform\r\n" +
	"X-Accel-Buffering: no\r\n" +
	"X-Content-Type-Options: nosniff\r\n" +
	"Vary: Origin\r\n" +
	"Connection: close\r\n"

// AppendAccept appends the head of the response and the time after which a client
// reconnects. The response allows pages of any origin to read it and to send
// cookies, because the caller refuses origins that may not connect.
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
		retry = defaultRetry
	}
	return appendRetry(dst, retry)
}

// AppendRefusal appends the response that refuses a request. If the refusal is
// temporary (status 500 and above, or with RetryAfter), the response is a stream
// that gives the time to reconnect and ends: an EventSource never reconnects
// after a status other than 200, so a node that is full or restarts would lose
// its clients.
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

// AppendFrame appends one event, as appendEvent describes it.
func (*Transport) AppendFrame(dst []byte, p wire.Payload) []byte { return appendEvent(dst, &p) }

// AppendPing appends an empty comment.
func (*Transport) AppendPing(dst []byte) []byte { return append(dst, ":\n"...) }

// AppendPong appends nothing: clients send no pings.
func (*Transport) AppendPong(dst, _ []byte) []byte { return dst }

// AppendClose appends the time to reconnect, and a comment with the reason for
// people.
func (*Transport) AppendClose(dst []byte, c *wire.Close) []byte {
	dst = appendComment(dst, strconv.Itoa(int(c.Code))+" "+c.Text)
	switch {
	case !c.Reconnect:
		return appendRetry(dst, noReconnect)
	case c.After > 0:
		return appendRetry(dst, c.After)
	}
	return dst // the time of AppendAccept remains valid
}

// AppendCloseReply appends nothing: a client closes by ending the connection.
func (*Transport) AppendCloseReply(dst []byte, _ uint16) []byte { return dst }

// NewDecoder returns a decoder that discards everything a client sends after its
// request.
func (*Transport) NewDecoder() wire.Decoder { return discard{} }

type discard struct{}

func (discard) Next(p []byte, _ *ws.Inbound, _ ws.Limits) (int, ws.Event, error) {
	return len(p), ws.Event{}, nil
}
