package sse

import (
	"fmt"
	"strings"

	"belfry/wire"
	"belfry/ws"
)

// Options say what an Endpoint serves.
type Options struct {
	Paths     []string        // none: "/sse"
	Encodings []wire.Encoding // at least one; the first is for clients that ask for none
	Transport Transport
}

// Endpoint serves event streams.
type Endpoint struct {
	paths    []string
	variants []wire.Variant
	names    string // of the encodings, for a refusal
}

var _ wire.Endpoint = (*Endpoint)(nil)

// New returns an endpoint.
func New(o Options) *Endpoint {
	e := &Endpoint{paths: o.Paths}
	if len(e.paths) == 0 {
		e.paths = []string{"/sse"}
	}
	var names []string
	for _, enc := range o.Encodings {
		e.variants = append(e.variants, wire.Variant{Transport: &o.Transport, Encoding: enc})
		names = append(names, enc.Name())
	}
	e.names = strings.Join(names, ", ")
	return e
}

// Paths implements wire.Endpoint.
func (e *Endpoint) Paths() []string { return e.paths }

// Variants implements wire.Endpoint: one for each encoding, in their order.
func (e *Endpoint) Variants() []wire.Variant { return e.variants }

// Choose implements wire.Endpoint. The query parameter encoding names the
// encoding.
func (e *Endpoint) Choose(r *ws.Request) (variant int, refusal *ws.Refusal) {
	name, ok := r.Query("encoding")
	if !ok {
		return 0, nil
	}
	for i, v := range e.variants {
		if v.Encoding.Name() == string(name) {
			return i, nil
		}
	}
	return 0, ws.BadRequest(fmt.Sprintf("encoding: %.32q is not served here; allowed are %s", name, e.names)).WithCause(ws.CauseUpgrade)
}
