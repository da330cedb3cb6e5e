package websocket

import (
	"belfry/wire"
	"belfry/ws"
)

// Encoding is an encoding with the subprotocol that selects it (RFC 6455 §1.9).
// The encoding with the subprotocol "" is for clients that offer no subprotocol
// of another encoding.
type Encoding struct {
	wire.Encoding
	Subprotocol string
	// Also is a second subprotocol that selects the encoding; "": none. A client
	// that carries its token as a subprotocol needs a name to offer beside it.
	Also string
}

// Options configure an Endpoint.
type Options struct {
	Paths     []string   // nil: "/ws"
	Encodings []Encoding // at least one; the one with subprotocol "" first
	Deflate   *Deflate   // nil: offers of permessage-deflate are declined
}

// Endpoint serves WebSockets. Several goroutines may use it at once.
type Endpoint struct {
	paths        []string
	encodings    []Encoding
	subprotocols []string
	deflate      *Deflate
	variants     []wire.Variant
}

var _ wire.Endpoint = (*Endpoint)(nil)

// New returns an Endpoint. It keeps the slices of o.
func New(o Options) *Endpoint {
	e := &Endpoint{paths: o.Paths, encodings: o.Encodings, deflate: o.Deflate}
	if len(e.paths) == 0 {
		e.paths = []string{"/ws"}
	}
	for _, enc := range e.encodings {
		for _, name := range []string{enc.Subprotocol, enc.Also} {
			if name != "" {
				e.subprotocols = append(e.subprotocols, name)
			}
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

// Variants implements wire.Endpoint: all encodings without deflate, then all
// encodings with deflate.
func (e *Endpoint) Variants() []wire.Variant { return e.variants }

// Choose implements wire.Endpoint. It checks the request by RFC 6455 §4.2.1,
// chooses the first subprotocol in the client's list that has an encoding, and
// accepts permessage-deflate if the client offers it with supported parameters.
func (e *Endpoint) Choose(r *ws.Request) (variant int, refusal *ws.Refusal) {
	if refusal = r.CheckUpgrade(); refusal != nil {
		return 0, refusal
	}
	chosen, refusal := r.ChooseSubprotocol(e.subprotocols)
	if refusal != nil {
		return 0, refusal
	}
	for i, enc := range e.encodings {
		if enc.Subprotocol == chosen || chosen != "" && enc.Also == chosen {
			variant = i
		}
	}
	if e.deflate != nil && r.NegotiateDeflate() {
		variant += len(e.encodings)
	}
	return variant, nil
}
