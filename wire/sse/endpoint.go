package sse

import (
	"fmt"
	"strings"

	"belfry/wire"
	"belfry/ws"
)

// Options configure an Endpoint.
type Options struct {
	Paths     []string        // nil: "/sse"
	Encodings []wire.Encoding // at least one; the first is for clients that ask for none
	Transport Transport
}

// Endpoint serves event streams. Several goroutines may use it at once.
type Endpoint struct {
	paths    []string
	variants []wire.Variant
	names    string // of the encodings, for the text of a refusal
}

var _ wire.Endpoint = (*Endpoint)(nil)

// New returns an Endpoint.
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
//
// A page can have a browser request any address without an Origin, as an image
// for instance, and with the user's cookies. It cannot read the answer, but the
// session would exist. Browsers say in Sec-Fetch-Site where such a request comes
// from (W3C Fetch Metadata).
func (e *Endpoint) Choose(r *ws.Request) (variant int, refusal *ws.Refusal) {
	if site := string(r.Header("Sec-Fetch-Site")); len(r.Origin()) == 0 && (site == "cross-site" || site == "same-site") {
		return 0, ws.Forbidden("a page of another origin asks without an Origin: use EventSource or fetch in mode cors").WithCause(ws.CauseOrigin)
	}
	given := false
	r.QueryEach(func(key, value []byte) bool {
		switch {
		case string(key) == "encoding" && given:
			refusal = badEncoding("encoding: the parameter is repeated; a stream has one encoding")
		case string(key) == "encoding":
			given = true
			variant, refusal = e.named(value)
		case strings.EqualFold(string(key), "encoding"):
			refusal = badEncoding(fmt.Sprintf("%.32q: the parameter for the encoding is encoding, in lower case", key))
		}
		return refusal == nil
	})
	return variant, refusal
}

// named returns the variant of the encoding with the given name.
func (e *Endpoint) named(name []byte) (variant int, refusal *ws.Refusal) {
	for i, v := range e.variants {
		if v.Encoding.Name() == string(name) {
			return i, nil
		}
	}
	return 0, badEncoding(fmt.Sprintf("encoding: %.32q is not served here; allowed are %s", name, e.names))
}

func badEncoding(detail string) *ws.Refusal { return ws.BadRequest(detail).WithCause(ws.CauseUpgrade) }
