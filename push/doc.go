// Package push is the HTTP API with which backends push messages: one message in
// each request, or many as the lines of a batch (NDJSON). It also serves health,
// readiness, metrics and statistics to operators.
//
// It validates each message and passes it to a Publisher. docs/api.md describes
// the API for people and docs/openapi.yaml for programs. A test compares both with
// the handlers.
package push
