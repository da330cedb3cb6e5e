package websocket

import (
	"strings"
	"testing"

	"belfry/wire/plain"
	"belfry/wire/v1"
	"belfry/ws"
)

// handshake parses a client's opening handshake with more header fields, each
// ended by CRLF.
func handshake(t *testing.T, fields string) *ws.Request {
	t.Helper()
	p, err := ws.NewParser(ws.ParserOptions{})
	if err != nil {
		t.Fatal(err)
	}
	r, _, refusal := p.Parse([]byte("GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n" + fields + "\r\n"))
	if refusal != nil {
		t.Fatal(refusal)
	}
	return r
}

func newDeflate(t *testing.T, o ws.DeflateOptions) *Deflate {
	t.Helper()
	d, err := NewDeflate(o)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

var encodings = []Encoding{{Encoding: plain.Encoding{}}, {Encoding: v1.Encoding{}, Subprotocol: v1.Name}}

// TestChoose checks the variant of each handshake, and the fields with which
// the transport of this variant accepts it.
func TestChoose(t *testing.T) {
	const (
		subprotocol = "Sec-WebSocket-Protocol: unknown, belfry.v1\r\n"
		deflate     = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	)
	with := New(Options{Encodings: encodings, Deflate: newDeflate(t, ws.DeflateOptions{})})
	without := New(Options{Encodings: encodings})
	aliases := New(Options{Encodings: []Encoding{{Encoding: plain.Encoding{}, Aliases: []string{"chat", "collab"}}, encodings[1]}})
	for name, c := range map[string]struct {
		e                   *Endpoint
		fields              string
		transport, encoding string
	}{
		"nothing":                {with, "", "websocket", "plain"},
		"subprotocol":            {with, subprotocol, "websocket", "belfry.v1"},
		"unknown subprotocol":    {with, "Sec-WebSocket-Protocol: unknown\r\n", "websocket", "plain"},
		"deflate":                {with, deflate, "websocket+deflate", "plain"},
		"both":                   {with, subprotocol + deflate, "websocket+deflate", "belfry.v1"},
		"deflate that is broken": {with, deflate + "User-Agent: Mozilla/5.0 Version/15.1 Safari/605.1.15\r\n", "websocket", "plain"},
		"alias":                  {aliases, "Sec-WebSocket-Protocol: collab, belfry.v1\r\n", "websocket", "plain"},
		"not an alias":           {aliases, "Sec-WebSocket-Protocol: col, belfry.v1\r\n", "websocket", "belfry.v1"},
		"deflate is off":         {without, subprotocol + deflate, "websocket", "belfry.v1"},
	} {
		t.Run(name, func(t *testing.T) {
			r := handshake(t, c.fields)
			n, refusal := c.e.Choose(r)
			if refusal != nil {
				t.Fatal(refusal)
			}
			v := c.e.Variants()[n]
			if v.Transport.Name() != c.transport || v.Encoding.Name() != c.encoding {
				t.Fatalf("%s, %s; want %s, %s", v.Transport.Name(), v.Encoding.Name(), c.transport, c.encoding)
			}
			answer := string(v.Transport.AppendAccept(nil, r))
			if got := strings.Contains(answer, "permessage-deflate"); got != strings.HasSuffix(c.transport, "deflate") {
				t.Errorf("deflate in the answer: %v", got)
			}
			if got := strings.Contains(answer, v1.Name); got != (c.encoding == v1.Name) {
				t.Errorf("subprotocol in the answer: %v", got)
			}
		})
	}
}

func TestChooseRefuses(t *testing.T) {
	e := New(Options{Encodings: encodings})
	for name, c := range map[string]struct {
		request string
		status  int
	}{
		"no handshake":         {"GET /ws HTTP/1.1\r\nHost: x\r\n\r\n", 426},
		"repeated subprotocol": {"GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: a, a\r\n\r\n", 400},
	} {
		p, _ := ws.NewParser(ws.ParserOptions{})
		r, _, refusal := p.Parse([]byte(c.request))
		if refusal != nil {
			t.Fatal(refusal)
		}
		if _, refusal = e.Choose(r); refusal == nil || refusal.Status != c.status {
			t.Errorf("%s: %v; want %d", name, refusal, c.status)
		}
	}
}
