package wire

import "belfry/ws"

// Variant is a complete protocol: what one client speaks.
type Variant struct {
	Transport Transport
	Encoding  Encoding
}

// Endpoint serves some paths.
type Endpoint interface {
	// Paths returns the paths that the endpoint serves, percent-decoded. Each
	// begins with a slash.
	Paths() []string
	// Variants returns all variants that Choose can choose, in the same order at
	// each call. All endpoints of a server together may have 1 to 256.
	Variants() []Variant
	// Choose checks a request for one of the paths by the rules of the
	// transport. It returns the index in Variants of the variant that the client
	// asks for, or the refusal. It must not keep r. Shards call it at the same
	// time.
	Choose(r *ws.Request) (variant int, refusal *ws.Refusal)
}
