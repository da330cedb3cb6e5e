package session

import (
	"fmt"
	"strings"

	"belfry/message"
	"belfry/wire"
	"belfry/wire/plain"
	"belfry/wire/v1"
	"belfry/wire/websocket"
	"belfry/ws"
)

// EchoPath is the path that Options.Echo serves. Its limits replace those of
// Options: bytes of a message, and fragments.
const (
	EchoPath         = "/echo"
	maxEchoMessage   = 32 << 20
	maxEchoFragments = 1 << 20
)

// maxVariants is the number of variants of all endpoints: record.variant is a byte.
const maxVariants = 256

// defaultEndpoint returns the endpoint that is served if Options.Endpoints is
// empty: WebSocket at /ws, plain or belfry.v1.
func defaultEndpoint() wire.Endpoint {
	return websocket.New(websocket.Options{Encodings: []websocket.Encoding{
		{Encoding: plain.Encoding{}, Aliases: []string{plain.Name}},
		{Encoding: v1.Encoding{}, Subprotocol: v1.Name},
	}})
}

// protocols is everything that clients can speak. It does not change once the
// server is made.
type protocols struct {
	variants []variant // of all endpoints; record.variant is an index
	routes   map[string]route
	served   string // the paths, for the text of a 404
}

// variant is a wire.Variant with answers that are needed often.
type variant struct {
	wire.Variant
	answers bool // Transport.Answers
	inBand  bool // Encoding is a wire.InBand
	acks    bool // clients can acknowledge messages
}

// route says what is served at a path.
type route struct {
	endpoint wire.Endpoint
	first    int // of its variants
	count    int
	echo     bool
}

func newProtocols(o *Options) (p protocols, err error) {
	p.routes = map[string]route{}
	for i, e := range o.Endpoints {
		if err := p.serve(e, i == 0 && o.Echo); err != nil {
			return p, err
		}
		for _, v := range e.Variants() {
			checked, err := newVariant(v, o.Authenticator)
			if err != nil {
				return p, err
			}
			p.variants = append(p.variants, checked)
		}
	}
	if n := len(p.variants); n < 1 || n > maxVariants {
		return p, &message.FieldError{Field: "endpoints", Detail: fmt.Sprintf("%d variants in all; allowed are 1 to %d", n, maxVariants)}
	}
	return p, nil
}

// serve adds the paths of an endpoint. The caller adds its variants next.
func (p *protocols) serve(e wire.Endpoint, echo bool) error {
	add := func(path string, r route) error {
		if _, taken := p.routes[path]; taken || !strings.HasPrefix(path, "/") {
			return &message.FieldError{Field: "endpoints", Detail: fmt.Sprintf("path %q does not begin with a slash, or is served twice", path)}
		}
		p.routes[path] = r
		if p.served != "" {
			p.served += ", "
		}
		p.served += path
		return nil
	}
	r := route{endpoint: e, first: len(p.variants), count: len(e.Variants())}
	paths := e.Paths()
	if len(paths) == 0 {
		return &message.FieldError{Field: "endpoints", Detail: "an endpoint has no path"}
	}
	for _, path := range paths {
		if err := add(path, r); err != nil {
			return err
		}
	}
	if r.echo = echo; !echo {
		return nil
	}
	return add(EchoPath, r)
}

// newVariant checks that the authenticator and the transport can do what the
// encoding needs.
func newVariant(v wire.Variant, a Authenticator) (variant, error) {
	_, inBand := v.Encoding.(wire.InBand)
	_, acks := v.Encoding.(wire.Acknowledger)
	answers := v.Transport.Answers()
	if _, can := a.(LoginAuthenticator); inBand && !can {
		return variant{}, &message.FieldError{Field: "authenticator", Detail: "it cannot check the login that the encoding " + v.Encoding.Name() + " needs"}
	}
	if inBand && !answers {
		return variant{}, &message.FieldError{Field: "endpoints", Detail: "clients of the transport " + v.Transport.Name() + " cannot send the login that the encoding " + v.Encoding.Name() + " needs"}
	}
	return variant{v, answers, inBand, acks && answers}, nil
}

// choose returns which variant a request asks for, and whether its path is
// EchoPath.
func (p *protocols) choose(req *ws.Request) (v uint8, echo bool, refusal *ws.Refusal) {
	r, ok := p.routes[string(req.Path())]
	if !ok {
		return 0, false, &ws.Refusal{Status: 404, Cause: ws.CausePath, Detail: "nothing is served at this path; served are " + p.served}
	}
	n, refusal := r.endpoint.Choose(req)
	if n < 0 || n >= r.count {
		panic(fmt.Sprintf("session: an endpoint of %d variants chose number %d", r.count, n))
	}
	return uint8(r.first + n), r.echo, refusal
}

// newDecoders returns a decoder for each variant. They are for one shard.
func (p *protocols) newDecoders() (all []wire.Decoder) {
	for i := range p.variants {
		all = append(all, p.variants[i].Transport.NewDecoder())
	}
	return all
}
