package ws

import (
	"net/http"
	"strconv"
	"time"
)

// Refusal is the answer to a request that does not become a WebSocket.
type Refusal struct {
	Status int   // of HTTP: 4xx or 5xx
	Cause  Cause // "" for a refusal that names none
	// Detail tells a developer what is wrong, in one line of printable
	// characters. It must hold nothing of the request that is not quoted.
	Detail string
	// RetryAfter is when to try again, rounded up to seconds; 0: not said.
	RetryAfter time.Duration
	// NoContent says that the request was a HEAD.
	NoContent bool

	// Health says that this is no refusal: the request is for
	// ParserOptions.HealthPath, and the caller decides the status.
	Health bool
}

// Cause tells refusals of the same status apart, in metrics and the log. It is
// one lower-case word. These are the causes that Parser and Request find; its
// callers add causes of their own.
type Cause string

const (
	CauseProtocol    Cause = "protocol"     // what came is not HTTP/1.x: TLS, HTTP/2, a PROXY header, noise
	CauseHead        Cause = "head"         // the request violates HTTP
	CauseHeadSize    Cause = "head_size"    // request line or header too long
	CauseHTTPVersion Cause = "http_version" // not HTTP/1.1
	CauseMethod      Cause = "method"       // not GET
	CauseBody        Cause = "body"         // the request has content
	CausePath        Cause = "path"         // nothing is served at this path
	CauseUpgrade     Cause = "upgrade"      // a field of RFC 6455 is missing or wrong
	CauseOrigin      Cause = "origin"       // a page that may not connect
)

func (r *Refusal) Error() string {
	return strconv.Itoa(r.Status) + " " + statusText(r.Status) + ": " + r.Detail
}

// statusText returns the name of a status in RFC 9110 §15, which has renamed
// some since net/http learned them.
func statusText(status int) string {
	switch status {
	case http.StatusRequestEntityTooLarge:
		return "Content Too Large"
	case http.StatusRequestURITooLong:
		return "URI Too Long"
	case http.StatusRequestedRangeNotSatisfiable:
		return "Range Not Satisfiable"
	case http.StatusUnprocessableEntity:
		return "Unprocessable Content"
	}
	return http.StatusText(status)
}

// Unauthorized refuses a client that has not said who it is, or not so that it
// could be believed (401).
func Unauthorized(problem string) *Refusal {
	return &Refusal{Status: http.StatusUnauthorized, Detail: problem}
}

// Forbidden refuses a client that is known and not allowed (403).
func Forbidden(problem string) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Detail: problem}
}

// Unavailable refuses a client that may try again after the given time (503).
func Unavailable(problem string, after time.Duration) *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Detail: problem, RetryAfter: after}
}

// BadRequest refuses a request that is not right (400).
func BadRequest(problem string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Cause: CauseHead, Detail: problem}
}

// WithCause sets the cause of r and returns r.
func (r *Refusal) WithCause(c Cause) *Refusal {
	r.Cause = c
	return r
}

// AppendRefusal appends r as a whole HTTP/1.1 response after which the
// connection is to be closed. date is the value of its Date, nil for none; a
// server that has a clock sends it (RFC 9110 §6.6.1). The other header fields that a status demands are
// there: Allow with 405 (RFC 9110 §15.5.6), WWW-Authenticate with 401
// (§15.5.2), Upgrade with 426 (§15.5.22) together with the version that this
// server understands (RFC 6455 §4.2.2).
//
// A client that is still sending when the connection is closed may lose the
// response to a reset: close the sending side first and read on for a while.
func AppendRefusal(dst []byte, r *Refusal, date []byte) []byte {
	status := statusText(r.Status)
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, status...)
	if r.Status == http.StatusUpgradeRequired {
		// Whoever sends Upgrade must list it in Connection (RFC 9110 §7.8).
		dst = append(dst, "\r\nConnection: close, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13"...)
	} else {
		dst = append(dst, "\r\nConnection: close"...)
	}
	if date != nil {
		dst = append(dst, "\r\nDate: "...)
		dst = append(dst, date...)
	}
	switch r.Status {
	case http.StatusMethodNotAllowed:
		dst = append(dst, "\r\nAllow: GET"...)
	case http.StatusUnauthorized:
		dst = append(dst, "\r\nWWW-Authenticate: Bearer"...)
	}
	if r.RetryAfter > 0 {
		dst = append(dst, "\r\nRetry-After: "...)
		dst = strconv.AppendInt(dst, int64((r.RetryAfter+time.Second-1)/time.Second), 10)
	}
	dst = append(dst, "\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: "...)
	dst = strconv.AppendInt(dst, int64(3+1+len(status)+2+len(r.Detail)+1), 10)
	dst = append(dst, "\r\n\r\n"...)
	if r.NoContent { // RFC 9110 §9.3.2; Content-Length is that of a GET's answer
		return dst
	}
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, status...)
	dst = append(dst, ": "...)
	dst = append(dst, r.Detail...)
	return append(dst, '\n')
}
