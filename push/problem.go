package push

import (
	"net/http"
	"strconv"
	"time"

	"belfry/message/strictjson"
)

// Cause is why a request, or a line of a batch, was refused. It is the
// problem type told to the client and the label of the metric.
type Cause uint8

const (
	CauseField           Cause = iota + 1 // a field is not valid
	CauseParameter                        // a query parameter nobody knows
	CauseLine                             // a line of a batch is not the JSON it should be
	CauseBody                             // the body broke off or is malformed
	CauseUnauthorized                     // no valid API key
	CauseHost                             // a Host that is not this machine's
	CauseOrigin                           // a request from a foreign web page
	CauseNotFound                         // no such path
	CauseMethod                           // no such method there
	CauseSlow                             // the body did not arrive in time
	CausePayloadTooLarge                  // a payload above MaxPayload or the bus's limit
	CauseLineTooLong                      // a line above MaxBatchLine
	CauseTooManyLines                     // a batch above MaxBatchLines
	CauseMediaType                        // a body that would have to be decoded first
	CauseInternal                         // a fault of ours
	CauseOverloaded                       // a queue behind the API is full
	CauseBusy                             // more than MaxRequests or MaxConnections at once
	CauseBodies                           // more than MaxBodies or BodyBytes on their way in
	CauseShutdown                         // this node stops
	CauseIdempotency                      // an Idempotency-Key, which would not be honoured
	CauseLength                           // a push without a length
	CauseHTTP                             // not HTTP; told by net/http, as the rest
	CauseHead                             // a head above MaxHeaderBytes
	CauseTransferCoding                   // a Transfer-Encoding other than chunked
	CauseVersion                          // a version of HTTP other than 1.0 and 1.1
	causeCount
)

// typePrefix starts the type of every problem. A URN, since there is no site
// of ours that could answer for a URL (RFC 9457 §3.1.1).
const typePrefix = "urn:belfry:problem:"

// causeInfo is the registry of problem types: one line a cause. docs/api.md
// and docs/openapi.yaml list it; a test compares them.
var causeInfo = [causeCount]struct {
	slug   string
	status int
	title  string
}{
	CauseField:           {"invalid-field", http.StatusBadRequest, "A field is not valid"},
	CauseParameter:       {"unknown-parameter", http.StatusBadRequest, "Unknown query parameter"},
	CauseLine:            {"invalid-line", http.StatusBadRequest, "The line is not a valid batch line"},
	CauseBody:            {"incomplete-body", http.StatusBadRequest, "The body is incomplete or malformed"},
	CauseUnauthorized:    {"unauthorized", http.StatusUnauthorized, "An API key is required"},
	CauseHost:            {"foreign-host", http.StatusForbidden, "The Host is not one of this server's"},
	CauseOrigin:          {"foreign-origin", http.StatusForbidden, "Other web pages may not use this API"},
	CauseNotFound:        {"not-found", http.StatusNotFound, "There is nothing at this path"},
	CauseMethod:          {"method-not-allowed", http.StatusMethodNotAllowed, "The method is not allowed here"},
	CauseSlow:            {"body-timeout", http.StatusRequestTimeout, "The body did not arrive in time"},
	CausePayloadTooLarge: {"payload-too-large", http.StatusRequestEntityTooLarge, "The payload is too large"},
	CauseLineTooLong:     {"line-too-long", http.StatusRequestEntityTooLarge, "The line is too long"},
	CauseTooManyLines:    {"too-many-lines", http.StatusRequestEntityTooLarge, "The batch has too many lines"},
	CauseMediaType:       {"unsupported-media-type", http.StatusUnsupportedMediaType, "The body's encoding or type is not supported"},
	CauseInternal:        {"internal", http.StatusInternalServerError, "Internal error"},
	CauseOverloaded:      {"overloaded", http.StatusServiceUnavailable, "The server is overloaded"},
	CauseBusy:            {"too-many-requests-at-once", http.StatusServiceUnavailable, "Too many requests at once"},
	CauseBodies:          {"too-many-bodies-at-once", http.StatusServiceUnavailable, "Too many bodies on their way in"},
	CauseShutdown:        {"shutting-down", http.StatusServiceUnavailable, "The server is shutting down"},
	CauseIdempotency:     {"idempotency-unsupported", http.StatusBadRequest, "An Idempotency-Key is not supported"},
	CauseLength:          {"length-required", http.StatusLengthRequired, "The length of the body is missing"},
	CauseHTTP:            {"malformed-request", http.StatusBadRequest, "Not a request of HTTP/1.1"},
	CauseHead:            {"head-too-large", http.StatusRequestHeaderFieldsTooLarge, "The request line and headers are too long"},
	CauseTransferCoding:  {"unsupported-transfer-coding", http.StatusNotImplemented, "The transfer coding is not supported"},
	CauseVersion:         {"unsupported-http-version", http.StatusHTTPVersionNotSupported, "The version of HTTP is not supported"},
}

// Causes returns every cause, in the registry's order.
func Causes() []Cause {
	all := make([]Cause, 0, causeCount-1)
	for c := CauseField; c < causeCount; c++ {
		all = append(all, c)
	}
	return all
}

// String returns the label used in metrics; the problem type ends with it.
func (c Cause) String() string { return causeInfo[c].slug }

// Type returns the URI that is the "type" of the problem (RFC 9457 §3.1.1).
func (c Cause) Type() string { return typePrefix + causeInfo[c].slug }

// Status returns the HTTP status the problem is answered with.
func (c Cause) Status() int { return causeInfo[c].status }

// Title returns the short summary, the same for every occurrence.
func (c Cause) Title() string { return causeInfo[c].title }

// problem is one refusal.
type problem struct {
	cause      Cause
	field      string        // the field at fault, "" if none
	detail     string        // what is wrong with it and what is allowed
	retryAfter time.Duration // of the causes with status 503; at least a second is told
}

// appendJSON appends the problem as an RFC 9457 object, with the extension
// members "field" and "retry_after" (seconds) where they apply.
func (p *problem) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"type":`...)
	dst = strictjson.AppendString(dst, p.cause.Type())
	dst = append(dst, `,"title":`...)
	dst = strictjson.AppendString(dst, p.cause.Title())
	dst = append(dst, `,"status":`...)
	dst = strconv.AppendInt(dst, int64(p.cause.Status()), 10)
	dst = append(dst, `,"detail":`...)
	dst = strictjson.AppendString(dst, p.detail)
	if p.field != "" {
		dst = append(dst, `,"field":`...)
		dst = strictjson.AppendString(dst, p.field)
	}
	if p.cause.Status() == http.StatusServiceUnavailable {
		dst = append(dst, `,"retry_after":`...)
		dst = strconv.AppendInt(dst, p.retrySeconds(), 10)
	}
	return append(dst, '}')
}

// retrySeconds rounds up: Retry-After knows whole seconds (RFC 9110 §10.2.3).
func (p *problem) retrySeconds() int64 {
	return max(1, int64((p.retryAfter+time.Second-1)/time.Second))
}

// write answers a request with the problem.
func (p *problem) write(w http.ResponseWriter) int {
	h := w.Header()
	h["Content-Type"] = problemType
	h["X-Content-Type-Options"] = nosniff
	h["Cache-Control"] = noStore
	status := p.cause.Status()
	if status == http.StatusServiceUnavailable {
		h.Set("Retry-After", strconv.FormatInt(p.retrySeconds(), 10))
	}
	buf := append(p.appendJSON(make([]byte, 0, 512)), '\n')
	h["Content-Length"] = []string{strconv.Itoa(len(buf))} // it may be flushed: see takeIn
	w.WriteHeader(status)
	w.Write(buf)
	return status
}

// Header values, shared by all answers and never changed.
var (
	problemType = []string{"application/problem+json"}
	jsonType    = []string{"application/json"}
	ndjsonType  = []string{"application/x-ndjson"}
	nosniff     = []string{"nosniff"}
	noStore     = []string{"no-store"}
	closeConn   = []string{"close"}
)
