package session

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"belfry/message"
	"belfry/wire"
	"belfry/ws"
)

// prefixed is a transport that nothing but these tests speaks: behind an HTTP
// answer, frames of a type, a length of four bytes and a payload.
type prefixed struct {
	name string
	mute bool // its clients cannot answer
}

// Types of frames.
const (
	prefixedText   = 't'
	prefixedBinary = 'b'
	prefixedPing   = '?'
	prefixedPong   = '!'
	prefixedClose  = 'x'
	prefixedHeader = 5 // bytes
)

func appendPrefixed[T string | []byte](dst []byte, kind byte, payload T) []byte {
	dst = binary.BigEndian.AppendUint32(append(dst, kind), uint32(len(payload)))
	return append(dst, payload...)
}

func (t prefixed) Name() string  { return t.name }
func (t prefixed) Answers() bool { return !t.mute }

func (prefixed) AppendAccept(dst []byte, r *ws.Request) []byte {
	return fmt.Appendf(dst, "HTTP/1.1 200 OK\r\nX-Path: %s\r\n\r\n", r.Path())
}

func (prefixed) AppendRefusal(dst, accept []byte, r *ws.Refusal, _ []byte) []byte {
	return fmt.Appendf(dst, "HTTP/1.1 %d Prefixed\r\nX-Accept: %d\r\nConnection: close\r\n\r\n%s", r.Status, len(accept), r.Detail)
}

func (prefixed) AppendFrame(dst []byte, p wire.Payload) []byte {
	if p.Kind == message.Binary {
		return appendPrefixed(dst, prefixedBinary, p.Data)
	}
	return appendPrefixed(dst, prefixedText, p.Data)
}

func (prefixed) AppendPing(dst []byte) []byte { return appendPrefixed(dst, prefixedPing, "") }
func (prefixed) AppendPong(dst, payload []byte) []byte {
	return appendPrefixed(dst, prefixedPong, payload)
}

func (prefixed) AppendClose(dst []byte, c *wire.Close) []byte {
	return appendPrefixed(dst, prefixedClose, fmt.Sprintf("%d %s %v %v", c.Code, c.Text, c.Reconnect, c.After))
}

func (prefixed) AppendCloseReply(dst []byte, code uint16) []byte {
	return appendPrefixed(dst, prefixedClose, fmt.Sprint(code))
}

func (prefixed) NewDecoder() wire.Decoder { return prefixedDecoder{} }

type prefixedDecoder struct{}

func (prefixedDecoder) Next(p []byte, in *ws.Inbound, limits ws.Limits) (int, ws.Event, error) {
	if in.Active() {
		return in.Take(p)
	}
	if len(p) < prefixedHeader {
		return 0, ws.Event{}, nil
	}
	size, body := int(binary.BigEndian.Uint32(p[1:])), p[prefixedHeader:]
	if !strings.ContainsRune("tb?!x", rune(p[0])) {
		return 0, ws.Event{}, fmt.Errorf("no frame begins with %q", p[0])
	}
	if size > limits.MaxMessage {
		return 0, ws.Event{}, &ws.ProtocolError{Violation: ws.TooBig, Detail: "prefixed message is too big"}
	}
	ev, whole := ws.Event{}, size <= len(body)
	switch p[0] {
	case prefixedText, prefixedBinary:
		op := ws.OpText
		if p[0] == prefixedBinary {
			op = ws.OpBinary
		}
		if whole {
			ev = ws.Event{Type: ws.EventMessage, Op: op, Payload: body[:size]}
			break
		}
		if in == nil {
			return 0, ws.Event{Type: ws.EventAssemble}, nil
		}
		in.Begin(op, size)
		n, ev, err := in.Take(body)
		return prefixedHeader + n, ev, err
	case prefixedPing:
		ev.Type = ws.EventPing
	case prefixedPong:
		ev.Type = ws.EventPong
	case prefixedClose:
		ev.Type, ev.Code = ws.EventClose, 7
	}
	if !whole {
		return 0, ws.Event{}, nil
	}
	ev.Payload = body[:size]
	return prefixedHeader + size, ev, nil
}

// lines is an encoding whose payloads hold a command a line: an op, a ref and
// an argument.
type lines struct{ name string }

func (e lines) Name() string { return e.name }

func writeLine(w *wire.Writer, format string, args ...any) {
	w.FrameBuffer(wire.Payload{Data: fmt.Appendf(w.Buffer(), format, args...)})
}

func (e lines) Message(w *wire.Writer, m *message.Message) {
	writeLine(w, "%s: %s", e.name, m.Payload)
}

func (e lines) Hello(w *wire.Writer, h *wire.Hello) {
	writeLine(w, "hello %s %s %v", h.UID, h.Ref, h.Topics)
}
func (e lines) Bye(w *wire.Writer, b *wire.Bye) { writeLine(w, "bye %s", b.Reason) }

func (e lines) Reply(w *wire.Writer, r *wire.Reply) {
	if r.Err != nil {
		writeLine(w, "error %s %s", r.Ref, r.Err.Code)
		return
	}
	switch {
	case r.Ref == "" && len(r.Left) > 0:
		writeLine(w, "left %v", r.Left)
	case len(r.Left) > 0 || !r.Expires.IsZero():
		writeLine(w, "done %s until %d left %v", r.Ref, max(r.Expires.Unix(), 0), r.Left)
	default:
		writeLine(w, "done %s", r.Ref)
	}
}

var lineOps = map[string]wire.Op{"sub": wire.OpSub, "unsub": wire.OpUnsub, "pub": wire.OpPub, "ping": wire.OpPing, "login": wire.OpLogin, "auth": wire.OpAuth,
	"users": wire.OpPub, "toall": wire.OpPub}

func (e lines) Command(p []byte, kind message.Kind) (c wire.Command, rest []byte, err error) {
	line, after, _ := strings.Cut(string(p), "\n")
	op, args, _ := strings.Cut(line, " ")
	ref, arg, _ := strings.Cut(args, " ")
	c = wire.Command{Op: lineOps[op], Ref: ref, Kind: kind}
	switch c.Op {
	case 0:
		return c, nil, &wire.CommandError{Code: "bad_request", Ref: ref}
	case wire.OpSub, wire.OpUnsub:
		c.Topics = []string{arg}
	case wire.OpPub:
		c.Target, c.Payload = message.ToTopics("all"), []byte(arg)
		switch op {
		case "users":
			c.Target = message.ToUsers("u")
		case "toall":
			c.Target = message.ToAll()
		}
	case wire.OpLogin, wire.OpAuth:
		c.Payload = []byte(arg)
	}
	return c, []byte(after), nil
}

// loginLines is lines whose clients log in first.
type loginLines struct{ lines }

func (loginLines) LoginFirst() {}

// byPath serves each of its variants at a path.
type byPath struct {
	paths    []string
	variants []wire.Variant
}

func (e *byPath) add(path string, t wire.Transport, enc wire.Encoding) *byPath {
	e.paths, e.variants = append(e.paths, path), append(e.variants, wire.Variant{Transport: t, Encoding: enc})
	return e
}

func (e *byPath) Paths() []string          { return e.paths }
func (e *byPath) Variants() []wire.Variant { return e.variants }

func (e *byPath) Choose(r *ws.Request) (int, *ws.Refusal) {
	for i, path := range e.paths {
		if string(r.Path()) == path {
			return i, nil
		}
	}
	return 0, ws.BadRequest("no such path")
}

// lpConn is a client of prefixed.
type lpConn struct {
	net.Conn
	t  testing.TB
	br *bufio.Reader
}

// lp asks for path with more bytes behind the request, and reads the status
// line and header of the answer.
func (r *rig) lp(path string, behind ...[]byte) (c *lpConn, status string) {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.Addrs()[0].String())
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	c = &lpConn{conn, r.t, bufio.NewReader(conn)}
	p := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path)
	for _, more := range behind {
		p = append(p, more...)
	}
	c.Write(p)
	c.SetReadDeadline(time.Now().Add(clientTimeout))
	for line := ""; line != "\r\n"; {
		if line, err = c.br.ReadString('\n'); err != nil {
			r.t.Fatalf("%s: %v after %q", path, err, status)
		}
		status += line
	}
	return c, status
}

func (c *lpConn) say(kind byte, payload string) {
	c.t.Helper()
	if _, err := c.Write(appendPrefixed(nil, kind, payload)); err != nil {
		c.t.Fatal(err)
	}
}

// want reads frames, each written as its type and its payload.
func (c *lpConn) want(frames ...string) {
	c.t.Helper()
	for _, want := range frames {
		kind, payload := c.frame(want)
		if got := string(rune(kind)) + payload; got != want {
			c.t.Fatalf("got %q; want %q", got, want)
		}
	}
}

// frame reads a frame; want is only for the text of an error.
func (c *lpConn) frame(want ...string) (kind byte, payload string) {
	c.t.Helper()
	c.SetReadDeadline(time.Now().Add(clientTimeout))
	header := make([]byte, prefixedHeader)
	if _, err := io.ReadFull(c.br, header); err != nil {
		c.t.Fatalf("%v; want %q", err, want)
	}
	size := binary.BigEndian.Uint32(header[1:])
	if size > 1<<20 {
		c.t.Fatalf("got %q, which is no frame; want %q", header, want)
	}
	p := make([]byte, size)
	io.ReadFull(c.br, p)
	return header[0], string(p)
}

// skipPongs reads pongs up to the next other frame. How many there are depends
// on how many reads the pings came in.
func (c *lpConn) skipPongs() {
	c.t.Helper()
	for {
		next, err := c.br.Peek(1)
		if err != nil || next[0] != prefixedPong {
			return
		}
		c.want(string(prefixedPong))
	}
}

// ends reads to the regular end of the connection, before which nothing comes.
func (c *lpConn) ends() {
	c.t.Helper()
	if rest, err := io.ReadAll(c.br); err != nil || len(rest) > 0 {
		c.t.Fatalf("before the end: %q, %v", rest, err)
	}
	c.Close()
}
