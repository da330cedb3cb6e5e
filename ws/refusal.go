package ws

import (
	"net/http"
	"strconv"
	"time"
)

// Refusal is the HTTP answer to a request that is not accepted. It implements
// error.
type Refusal struct {
	Status int   // HTTP status, 400 to 599
	Cause  Cause // "" for none
	// Detail tells a developer what is wrong, in one line of printable
	// characters. It must quote what it repeats of the request.
	Detail string
	// RetryAfter is the time after which the client may try again. It is rounded
	// up to seconds; 0: the answer has no Retry-After.
	RetryAfter time.Duration
	// NoContent is true if the request was a HEAD: the answer has no content.
	NoContent bool

	// Health is true if this is not a refusal: the request is for
	// ParserOptions.HealthPath, and the caller sets the status.
	Health bool
}

// Cause is a label for metrics and the log, which tells refusals with the same
// status apart. It consists of lower-case letters and underscores. The constants
// are the causes that this package uses; other packages add their own.
type Cause string

const (
	CauseProtocol    Cause = "protocol"     // the client does not speak HTTP/1: TLS, HTTP/2, a PROXY header, other bytes
	CauseHead        Cause = "head"         // the request violates HTTP
	CauseHeadSize    Cause = "head_size"    // the request line or the header is too long
	CauseHTTPVersion Cause = "http_version" // not HTTP/1.1
	CauseMethod      Cause = "method"       // not GET
	CauseBody        Cause = "body"         // the request has content
	CausePath        Cause = "path"         // nothing is served at this path
	CauseUpgrade     Cause = "upgrade"      // a field of RFC 6455 is missing or wrong
	CauseOrigin      Cause = "origin"       // a web page that may not connect
)

func (r *Refusal) Error() string {
	return strconv.Itoa(r.Status) + " " + statusText(r.Status) + ": " + r.Detail
}

// statusText returns the name of a status in RFC 9110 §15. It has renamed some
// statuses, and net/http keeps the old names.
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

// Unauthorized refuses a client without valid credentials (401).
func Unauthorized(detail string) *Refusal {
	return &Refusal{Status: http.StatusUnauthorized, Detail: detail}
}

// Forbidden refuses a request that the client is not allowed to make (403).
func Forbidden(detail string) *Refusal {
	return &Refusal{Status: http.StatusForbidden, Detail: detail}
}

// Unavailable refuses a request that the client may repeat after the given time
// (503).
func Unavailable(detail string, after time.Duration) *Refusal {
	return &Refusal{Status: http.StatusServiceUnavailable, Detail: detail, RetryAfter: after}
}

// BadRequest refuses an invalid request (400), with CauseHead.
func BadRequest(detail string) *Refusal {
	return &Refusal{Status: http.StatusBadRequest, Cause: CauseHead, Detail: detail}
}

// WithCause sets the cause of r and returns r.
func (r *Refusal) WithCause(c Cause) *Refusal {
	r.Cause = c
	return r
}

// AppendRefusal appends r as a complete HTTP/1.1 response. The connection has to
// be closed after it. date is the value of the field Date, nil for none; a server
// with a clock must send it (RFC 9110 §6.6.1). The response has the fields that
// its status requires: Allow with 405 (RFC 9110 §15.5.6), WWW-Authenticate with
// 401 (§15.5.2), Upgrade with 426 (§15.5.22) and with it the version of WebSocket
// (RFC 6455 §4.2.2).
//
// If the connection is closed while the client still sends, a reset may destroy
// the response. So the caller closes only its sending side at first, and goes on
// reading for a while.
func AppendRefusal(dst []byte, r *Refusal, date []byte) []byte {
	status := statusText(r.Status)
	dst = append(dst, "HTTP/1.1 "...)
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, status...)
	if r.Status == http.StatusUpgradeRequired {
		// A message with Upgrade must list it in Connection (RFC 9110 §7.8).
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
	if r.NoContent { // Content-Length is the same as for a GET (RFC 9110 §9.3.2)
		return dst
	}
	dst = strconv.AppendInt(dst, int64(r.Status), 10)
	dst = append(dst, ' ')
	dst = append(dst, status...)
	dst = append(dst, ": "...)
	dst = append(dst, r.Detail...)
	return append(dst, '\n')
}
