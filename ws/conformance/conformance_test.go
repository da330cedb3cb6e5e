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

// TestCodec holds the codec alone, without the reactor, against the cases: an
// echo server with a goroutine a connection that reads in pieces of odd size.
func TestCodec(t *testing.T) {
	conformance.Run(t, serve(t, echo))
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

func echo(conn *net.TCPConn) {
	defer conn.Close()
	h, err := ws.NewHandshaker(ws.HandshakeOptions{Paths: []string{conformance.Path}})
	if err != nil {
		panic(err)
	}
	var (
		buf = make([]byte, 0, 64<<10-1)
		in  = &ws.Inbound{}
		lim = ws.Limits{MaxMessage: 16 << 20, MaxFragments: 1 << 16}
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
			if refusal != nil {
				conn.Write(ws.AppendRefusal(nil, refusal, nil))
				return
			}
			if req == nil {
				continue
			}
			out = req.AppendAccept(out[:0])
			upgraded, used = true, n
		}
		var n int
		n, out, closing = answer(buf[used:], out, in, lim)
		if _, err := conn.Write(out); err != nil {
			return
		}
		out = out[:0]
		buf = buf[:copy(buf, buf[used+n:])]
	}
	// The client may still be sending: reading on keeps a reset from
	// overtaking what was written.
	conn.CloseWrite()
	conn.SetReadDeadline(time.Now().Add(time.Second))
	io.Copy(io.Discard, conn)
}

// answer appends what p is answered with to out.
func answer(p, out []byte, in *ws.Inbound, lim ws.Limits) (n int, _ []byte, closing bool) {
	for {
		k, ev, err := ws.Next(p[n:], in, lim)
		n += k
		if fault := (*ws.ProtocolError)(nil); errors.As(err, &fault) {
			return n, ws.AppendClose(out, fault.Violation.Code(), fault.Detail), true
		}
		switch ev.Type {
		case ws.EventNone:
			return n, out, false
		case ws.EventMessage:
			out = ws.AppendFrame(out, ev.Op, ev.Payload)
		case ws.EventPing:
			out = ws.AppendFrame(out, ws.OpPong, ev.Payload)
		case ws.EventClose:
			return n, ws.AppendClose(out, ev.Code, ""), true
		}
	}
}
