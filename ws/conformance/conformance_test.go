package conformance_test

import (
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"belfry/ws"
	"belfry/ws/conformance"
)

// TestCodec checks package ws without the rest of the server: an echo server with
// a goroutine for each connection, which reads pieces of an odd size.
func TestCodec(t *testing.T) {
	conformance.Run(t, serve(t, func(conn *net.TCPConn) { echo(conn, nil) }), false)
}

// TestDeflateCodec is TestCodec with a server that compresses all it can.
func TestDeflateCodec(t *testing.T) {
	d, err := ws.NewDeflater(ws.DeflateOptions{MinSize: 1})
	if err != nil {
		t.Fatal(err)
	}
	conformance.Run(t, serve(t, func(conn *net.TCPConn) { echo(conn, d) }), true)
}

// serve accepts connections on a port of its own until the test ends.
func serve(t *testing.T, handle func(*net.TCPConn)) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go handle(conn.(*net.TCPConn))
		}
	}()
	return l.Addr().String()
}

// echo serves a connection. It negotiates deflate if d is not nil.
func echo(conn *net.TCPConn, d *ws.Deflater) {
	defer conn.Close()
	h, err := ws.NewParser(ws.ParserOptions{})
	if err != nil {
		panic(err)
	}
	var (
		buf = make([]byte, 0, 64<<10-1)
		c   = codec{lim: ws.Limits{MaxMessage: 16 << 20, MaxFragments: 1 << 16}}
		out []byte
	)
	for upgraded, closing := false, false; !closing; {
		k, err := conn.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return
		}
		buf = buf[:len(buf)+k]
		used := 0
		if !upgraded {
			req, n, refusal := h.Parse(buf)
			if req != nil {
				if refusal = req.CheckUpgrade(); refusal == nil && d != nil {
					req.NegotiateDeflate()
				}
			}
			if refusal != nil {
				conn.Write(ws.AppendRefusal(nil, refusal, nil))
				return
			}
			if req == nil {
				continue
			}
			out = req.AppendAccept(out[:0])
			upgraded, used = true, n
			if req.Deflate() {
				c.deflater, c.lim.Deflate = d, true
			}
		}
		var n int
		n, out, closing = c.answer(buf[used:], out)
		if _, err := conn.Write(out); err != nil {
			return
		}
		out = out[:0]
		buf = buf[:copy(buf, buf[used+n:])]
	}
	// The client may still be sending. Reading prevents a reset, which could
	// destroy what was written.
	conn.CloseWrite()
	conn.SetReadDeadline(time.Now().Add(time.Second))
	io.Copy(io.Discard, conn)
}

// codec is the state of a connection.
type codec struct {
	in       ws.Inbound
	lim      ws.Limits
	inflater ws.Inflater
	deflater *ws.Deflater // nil if deflate was not negotiated
}

// answer reads the frames in p and appends the answers to out.
func (c *codec) answer(p, out []byte) (n int, _ []byte, closing bool) {
	for {
		k, ev, err := ws.Next(p[n:], &c.in, c.lim)
		n += k
		if err == nil && ev.Compressed {
			ev.Payload, err = c.inflater.Inflate(ev, c.lim)
		}
		if fault := (*ws.ProtocolError)(nil); errors.As(err, &fault) {
			return n, ws.AppendClose(out, fault.Violation.Code(), fault.Detail), true
		}
		switch ev.Type {
		case ws.EventNone:
			return n, out, false
		case ws.EventMessage:
			if c.deflater == nil {
				out = ws.AppendFrame(out, ev.Op, ev.Payload)
			} else {
				out, _ = c.deflater.AppendFrame(out, ev.Op, ev.Payload)
			}
		case ws.EventPing:
			out = ws.AppendFrame(out, ws.OpPong, ev.Payload)
		case ws.EventClose:
			return n, ws.AppendClose(out, ev.Code, ""), true
		}
	}
}
