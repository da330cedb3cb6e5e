// Package push is the HTTP API through which backends push messages: one
// message a request, or a stream of them as NDJSON. It also serves what an
// operator asks for: health, readiness, metrics and statistics.
//
// It validates and hands each message to a Publisher; what happens to the
// message after that is not its business. docs/api.md describes the API for
// its users and docs/openapi.yaml for their tools; a test holds both against
// the handlers.
package push
