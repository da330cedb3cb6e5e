package session

import (
	"strings"

	"belfry/message"
	"belfry/wire"
	"belfry/wire/plain"
	"belfry/wire/v1"
	"belfry/wire/websocket"
	"belfry/ws"
)

// EchoPath is where Options.Echo serves, and maxEchoMessage what it takes.
const (
	EchoPath         = "/echo"
	maxEchoMessage   = 32 << 20
	maxEchoFragments = 1 << 20
)

// maxVariants bounds the variants of all endpoints: record.variant is a byte.
const maxVariants = 256

// defaultEndpoint returns the endpoint that Options.Endpoints has unless told:
// WebSocket at /ws, plain or belfry.v1.
func defaultEndpoint() wire.Endpoint {
	return websocket.New(websocket.Options{Encodings: []websocket.Encoding{
		{Encoding: plain.Encoding{}},
		{Encoding: v1.Encoding{}, Subprotocol: v1.Name},
	}})
}

// protocols is everything that clients can speak here. It does not change once
// the server is made.
type protocols struct {
	variants []variant // of all endpoints; record.variant is an index
	routes   map[string]route
	served   string // the paths, for a 404
}

// variant is a wire.Variant with what is asked of it often.
type variant struct {
	wire.Variant
	answers bool // Transport.Answers
	inBand  bool // Encoding is a wire.InBand
}

// route is what is served at a path.
type route struct {
	endpoint wire.Endpoint
	first    int // of its variants
	echo     bool
}

func newProtocols(o *Options) (p protocols, err error) {
	p.routes = map[string]route{}
	var paths []string
	for i, e := range o.Endpoints {
		r := route{endpoint: e, first: len(p.variants)}
		for _, path := range e.Paths() {
			if _, taken := p.routes[path]; taken || !strings.HasPrefix(path, "/") {
				return p, &message.FieldError{Field: "endpoints", Detail: path + " is no path, or is there twice"}
			}
			p.routes[path] = r
			paths = append(paths, path)
		}
		if i == 0 && o.Echo {
			p.routes[EchoPath] = route{e, r.first, true}
			paths = append(paths, EchoPath)
		}
		for _, v := range e.Variants() {
			_, inBand := v.Encoding.(wire.InBand)
			if _, can := o.Authenticator.(LoginAuthenticator); inBand && !can {
				return p, &message.FieldError{Field: "authenticator", Detail: "it cannot check the login that the encoding " + v.Encoding.Name() + " needs"}
			}
			p.variants = append(p.variants, variant{v, v.Transport.Answers(), inBand})
		}
	}
	if n := len(p.variants); n < 1 || n > maxVariants {
		return p, &message.FieldError{Field: "endpoints", Detail: "they must have 1 to 256 variants together"}
	}
	p.served = strings.Join(paths, ", ")
	return p, nil
}

// choose returns which variant a request asks for, and whether it is to be
// echoed only.
func (p *protocols) choose(req *ws.Request) (v uint8, echo bool, refusal *ws.Refusal) {
	r, ok := p.routes[string(req.Path())]
	if !ok {
		return 0, false, &ws.Refusal{Status: 404, Cause: ws.CausePath, Detail: "no WebSocket at this path; there is one at " + p.served}
	}
	n, refusal := r.endpoint.Choose(req)
	return uint8(r.first + n), r.echo, refusal
}

// variantOf returns what a session speaks.
func (h *shard) variantOf(rec *record) *variant { return &h.srv.protocols.variants[rec.variant] }

// say builds what an encoding says to one session, behind what is in dst.
func (h *shard) say(rec *record, dst []byte) *wire.Writer {
	h.writer.Reset(h.variantOf(rec).Transport, dst)
	return &h.writer
}
