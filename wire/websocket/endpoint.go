package websocket

import (
	"belfry/wire"
	"belfry/ws"
)

// Encoding is an encoding with the subprotocol that selects it (RFC 6455
// §1.9); "" for the encoding of clients that ask for none that is known here.
type Encoding struct {
	wire.Encoding
	Subprotocol string
}

// Options say what an Endpoint serves.
type Options struct {
	Paths     []string   // none: "/ws"
	Encodings []Encoding // at least one; the one with subprotocol "" first
	Deflate   *Deflate   // nil: permessage-deflate is not offered
}

// Endpoint serves WebSockets.
type Endpoint struct {
	paths        []string
	encodings    []Encoding
	subprotocols []string
	deflate      *Deflate
	variants     []wire.Variant
}

var _ wire.Endpoint = (*Endpoint)(nil)

// New returns an endpoint.
func New(o Options) *Endpoint {
	e := &Endpoint{paths: o.Paths, encodings: o.Encodings, deflate: o.Deflate}
	if len(e.paths) == 0 {
		e.paths = []string{"/ws"}
	}
	for _, enc := range e.encodings {
		if enc.Subprotocol != "" {
			e.subprotocols = append(e.subprotocols, enc.Subprotocol)
		}
		e.variants = append(e.variants, wire.Variant{Transport: Transport{}, Encoding: enc.Encoding})
	}
	if e.deflate != nil {
		for _, enc := range e.encodings {
			e.variants = append(e.variants, wire.Variant{Transport: e.deflate, Encoding: enc.Encoding})
		}
	}
	return e
}

// Paths implements wire.Endpoint.
func (e *Endpoint) Paths() []string { return e.paths }

// Variants implements wire.Endpoint: every encoding without deflate, then
// every encoding with it.
func (e *Endpoint) Variants() []wire.Variant { return e.variants }

// Choose implements wire.Endpoint. It checks the fields of RFC 6455 §4.2.1,
// takes the first subprotocol of the client's list that is spoken here, and
// deflate if the client offers it in a form that this server can serve.
func (e *Endpoint) Choose(r *ws.Request) (variant int, refusal *ws.Refusal) {
	if refusal = r.CheckUpgrade(); refusal != nil {
		return 0, refusal
	}
	chosen, refusal := r.ChooseSubprotocol(e.subprotocols)
	if refusal != nil {
		return 0, refusal
	}
	for i, enc := range e.encodings {
		if enc.Subprotocol == chosen {
			variant = i
		}
	}
	if e.deflate != nil && e.deflate.accepts(r) {
		variant += len(e.encodings)
	}
	return variant, nil
}
