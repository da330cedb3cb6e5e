package push

import (
	"net/http"
	"strconv"
	"time"

	"belfry/message/strictjson"
)

// Cause says why a request, or a line of a batch, was refused. It is the problem
// type that clients get, and the label of the metric.
type Cause uint8

const (
	CauseField           Cause = iota + 1 // a field is not valid
	CauseParameter                        // an unknown query parameter
	CauseLine                             // a line of a batch is not a valid JSON object
	CauseBody                             // the body is incomplete or malformed
	CauseUnauthorized                     // no valid API key
	CauseHost                             // the Host is not a name of this machine
	CauseOrigin                           // the request comes from a page of another site
	CauseNotFound                         // the path does not exist
	CauseMethod                           // the path does not have this method
	CauseSlow                             // the body did not arrive in time
	CausePayloadTooLarge                  // a payload above MaxPayload or the limit of the bus
	CauseLineTooLong                      // a line above MaxBatchLine
	CauseTooManyLines                     // a batch above MaxBatchLines
	CauseMediaType                        // a body that must be decoded before it can be pushed
	CauseInternal                         // a fault of belfry
	CauseOverloaded                       // a queue behind the API is full
	CauseBusy                             // more than MaxRequests or MaxConnections at once
	CauseBodies                           // more than MaxBodies or BodyBytes arriving at once
	CauseShutdown                         // this node is stopping
	CauseKeyProgress                      // the first request with the Idempotency-Key has no answer yet
	CauseKeyReused                        // the Idempotency-Key was used with another request
	CauseKeyUnavailable                   // nodes that may know the Idempotency-Key did not answer
	CauseLength                           // a push without a length
	CauseHTTP                             // not HTTP; net/http finds this cause and the ones below
	CauseHead                             // a head above MaxHeaderBytes
	CauseTransferCoding                   // a Transfer-Encoding other than chunked
	CauseVersion                          // a version of HTTP other than 1.0 and 1.1
	CauseRevocations                      // the tokens of too many users are revoked
	CauseNoSession                        // there is no open session with this id
	CauseSilent                           // the node that could answer did not
	CauseSettings                         // the settings that a reload read cannot be used
	causeCount
)

// typePrefix is the beginning of every problem type. The types are URNs, because
// belfry has no site at which a URL could be looked up (RFC 9457 §3.1.1).
const typePrefix = "urn:belfry:problem:"

// causeInfo is the registry of problem types, one line for each cause. docs/api.md
// and docs/openapi.yaml list the same types; a test compares them.
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
	CauseBodies:          {"too-many-bodies-at-once", http.StatusServiceUnavailable, "Too many bodies are arriving"},
	CauseShutdown:        {"shutting-down", http.StatusServiceUnavailable, "The server is shutting down"},
	CauseKeyProgress:     {"idempotency-key-in-progress", http.StatusConflict, "A request with this Idempotency-Key is in progress"},
	CauseKeyReused:       {"idempotency-key-reused", http.StatusUnprocessableEntity, "The Idempotency-Key was used with another request"},
	CauseKeyUnavailable:  {"idempotency-unavailable", http.StatusServiceUnavailable, "It is not known whether the Idempotency-Key was used"},
	CauseLength:          {"length-required", http.StatusLengthRequired, "The length of the body is missing"},
	CauseHTTP:            {"malformed-request", http.StatusBadRequest, "Not a request of HTTP/1.1"},
	CauseHead:            {"head-too-large", http.StatusRequestHeaderFieldsTooLarge, "The request line and headers are too long"},
	CauseTransferCoding:  {"unsupported-transfer-coding", http.StatusNotImplemented, "The transfer coding is not supported"},
	CauseRevocations:     {"too-many-revocations", http.StatusInsufficientStorage, "Too many revocations"},
	CauseNoSession:       {"no-such-session", http.StatusNotFound, "There is no open session with this id"},
	CauseSilent:          {"node-silent", http.StatusServiceUnavailable, "The node of the session did not answer"},
	CauseSettings:        {"invalid-settings", http.StatusUnprocessableEntity, "The settings cannot be used"},
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

// String returns the label used in metrics. The problem type ends with it.
func (c Cause) String() string { return causeInfo[c].slug }

// Type returns the "type" of the problem, a URI (RFC 9457 §3.1.1).
func (c Cause) Type() string { return typePrefix + causeInfo[c].slug }

// Status returns the HTTP status of the answer.
func (c Cause) Status() int { return causeInfo[c].status }

// Title returns the short summary, the same for every occurrence.
func (c Cause) Title() string { return causeInfo[c].title }

// problem is the answer to a request, or to a line of a batch, that was refused.
type problem struct {
	cause      Cause
	field      string         // the invalid field, "" if there is none
	detail     string         // what is wrong and what is allowed
	place      *SettingsError // where a fault of the settings is; nil: none
	retryAfter time.Duration  // for causes with status 503 or 409; the answer has at least a second
}

// appendJSON appends the problem as an RFC 9457 object, with the extension
// members "field", "file", "line" and "column" (of settings), and "retry_after" (seconds) where they apply.
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
	if p.place != nil {
		dst = p.place.appendJSON(dst)
	}
	if p.later() {
		dst = append(dst, `,"retry_after":`...)
		dst = strconv.AppendInt(dst, p.retrySeconds(), 10)
	}
	return append(dst, '}')
}

// later says whether the same request may succeed later.
func (p *problem) later() bool {
	status := p.cause.Status()
	return status == http.StatusServiceUnavailable || status == http.StatusConflict
}

// retrySeconds returns retryAfter in seconds, rounded up, because Retry-After has
// whole seconds (RFC 9110 §10.2.3).
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
	if p.later() {
		h.Set("Retry-After", strconv.FormatInt(p.retrySeconds(), 10))
	}
	buf := append(p.appendJSON(make([]byte, 0, 512)), '\n')
	h["Content-Length"] = []string{strconv.Itoa(len(buf))} // discardRest may flush the answer before its end
	w.WriteHeader(status)
	w.Write(buf)
	return status
}

// Header values that all answers share. They are never changed.
var (
	problemType = []string{"application/problem+json"}
	jsonType    = []string{"application/json"}
	ndjsonType  = []string{"application/x-ndjson"}
	nosniff     = []string{"nosniff"}
	noStore     = []string{"no-store"}
	closeConn   = []string{"close"}
)
