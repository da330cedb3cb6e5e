package ws

import (
	"slices"
	"testing"
)

// handshakeOptions say which handshakes a handshaker accepts.
type handshakeOptions struct {
	MaxHead      int
	Paths        []string // none: "/ws"
	Subprotocols []string
	Origins      *Origins
	Deflate      bool
}

// handshaker checks a whole opening handshake, in the order in which a server
// puts its parts together.
type handshaker struct {
	*Parser
	o handshakeOptions
}

func newTestHandshaker(t testing.TB, o handshakeOptions) *handshaker {
	t.Helper()
	p, err := NewParser(ParserOptions{MaxHead: o.MaxHead, MethodAdvice: "push at api.listen", PROXYAdvice: "use proxy.protocol"})
	if err != nil {
		t.Fatal(err)
	}
	if len(o.Paths) == 0 {
		o.Paths = []string{"/ws"}
	}
	return &handshaker{p, o}
}

// Parse is Parser.Parse with the checks that follow.
func (h *handshaker) Parse(p []byte) (*Request, int, *Refusal) {
	req, n, refusal := h.Parser.Parse(p)
	if req == nil {
		return nil, n, refusal
	}
	if !slices.Contains(h.o.Paths, string(req.Path())) {
		return nil, n, &Refusal{Status: 404, Cause: CausePath, Detail: "served are " + h.o.Paths[0]}
	}
	if refusal = req.CheckUpgrade(); refusal != nil {
		return nil, n, refusal
	}
	if _, refusal = req.ChooseSubprotocol(h.o.Subprotocols); refusal != nil {
		return nil, n, refusal
	}
	if refusal = h.o.Origins.Check(req, "the list"); refusal != nil {
		return nil, n, refusal
	}
	if h.o.Deflate {
		req.NegotiateDeflate()
	}
	return req, n, nil
}
