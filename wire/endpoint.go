package wire

import "belfry/ws"

// Variant is what one client speaks.
type Variant struct {
	Transport Transport
	Encoding  Encoding
}

// Endpoint serves some paths.
type Endpoint interface {
	// Paths returns the paths that are served, percent-decoded.
	Paths() []string
	// Variants returns all variants that Choose can choose. It must return the
	// same at each call. A server has at most 256, those of all endpoints
	// together.
	Variants() []Variant
	// Choose checks a request for one of the paths by the rules of the
	// transport, and returns which of Variants it asks for, or why it cannot be
	// accepted. It must not keep r. One goroutine of each shard calls it.
	Choose(r *ws.Request) (variant int, refusal *ws.Refusal)
}
