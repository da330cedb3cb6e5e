package session

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gorilla/websocket"
	"github.com/lxzan/gws"
)

var errNoPong = errors.New("no pong")

func pong(c <-chan struct{}) error {
	select {
	case <-c:
		return nil
	case <-time.After(time.Minute):
		return errNoPong
	}
}

// gorillaConn is github.com/gorilla/websocket.
type gorillaConn struct {
	*websocket.Conn
	ev   chan libraryEvent
	pong chan struct{}
}

func dialGorilla(url string, subprotocols []string) (libraryConn, *http.Response, error) {
	// The small buffer has it send large messages in fragments.
	d := websocket.Dialer{Subprotocols: subprotocols, EnableCompression: true, WriteBufferSize: 1 << 10}
	conn, resp, err := d.Dial(url, nil)
	if err != nil {
		return nil, resp, err
	}
	c := &gorillaConn{conn, make(chan libraryEvent, 16), make(chan struct{}, 1)}
	c.SetPongHandler(func(string) error { c.pong <- struct{}{}; return nil })
	go func() {
		defer close(c.ev)
		for {
			kind, p, err := c.ReadMessage()
			if err != nil {
				end := libraryEvent{end: err}
				var ce *websocket.CloseError
				if errors.As(err, &ce) {
					end.code = ce.Code
				}
				c.ev <- end
				c.Close()
				return
			}
			c.ev <- libraryEvent{binary: kind == websocket.BinaryMessage, data: p}
		}
	}()
	return c, resp, nil
}

func (c *gorillaConn) events() <-chan libraryEvent { return c.ev }

func (c *gorillaConn) write(binary bool, p []byte) error {
	kind := websocket.TextMessage
	if binary {
		kind = websocket.BinaryMessage
	}
	return c.WriteMessage(kind, p)
}

func (c *gorillaConn) ping() error {
	if err := c.WriteControl(websocket.PingMessage, []byte("x"), time.Now().Add(time.Second)); err != nil {
		return err
	}
	return pong(c.pong)
}

func (c *gorillaConn) close(code int, reason string) error {
	err := c.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, reason), time.Now().Add(time.Second))
	for ev := range c.ev {
		if ev.end != nil && ev.code != code {
			return ev.end
		}
	}
	return err
}

// coderConn is github.com/coder/websocket.
type coderConn struct {
	*coder.Conn
	ev chan libraryEvent
}

func dialCoder(url string, subprotocols []string) (libraryConn, *http.Response, error) {
	conn, resp, err := coder.Dial(context.Background(), url, &coder.DialOptions{Subprotocols: subprotocols, CompressionMode: coder.CompressionContextTakeover})
	if err != nil {
		return nil, resp, err
	}
	conn.SetReadLimit(-1)
	c := &coderConn{conn, make(chan libraryEvent, 16)}
	go func() {
		defer close(c.ev)
		for {
			kind, p, err := c.Read(context.Background())
			if err != nil {
				c.ev <- libraryEvent{end: err, code: max(0, int(coder.CloseStatus(err)))}
				c.CloseNow()
				return
			}
			c.ev <- libraryEvent{binary: kind == coder.MessageBinary, data: p}
		}
	}()
	return c, resp, nil
}

func (c *coderConn) events() <-chan libraryEvent { return c.ev }

func (c *coderConn) write(binary bool, p []byte) error {
	kind := coder.MessageText
	if binary {
		kind = coder.MessageBinary
	}
	return c.Write(context.Background(), kind, p)
}

func (c *coderConn) ping() error {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return c.Ping(ctx)
}

func (c *coderConn) close(code int, reason string) error {
	return c.Close(coder.StatusCode(code), reason)
}

// gwsConn is github.com/lxzan/gws.
type gwsConn struct {
	gws.BuiltinEventHandler
	*gws.Conn
	ev   chan libraryEvent
	over chan struct{}
	pong chan struct{}
}

func dialGWS(url string, subprotocols []string) (libraryConn, *http.Response, error) {
	c := &gwsConn{ev: make(chan libraryEvent, 16), pong: make(chan struct{}, 1), over: make(chan struct{})}
	o := &gws.ClientOption{Addr: url, CheckUtf8Enabled: true, PermessageDeflate: gws.PermessageDeflate{Enabled: true}, RequestHeader: http.Header{}}
	if subprotocols != nil {
		o.RequestHeader.Set("Sec-WebSocket-Protocol", strings.Join(subprotocols, ", "))
	}
	conn, resp, err := gws.NewClient(c, o)
	if err != nil {
		return nil, resp, err
	}
	c.Conn = conn
	go c.ReadLoop()
	return c, resp, nil
}

// OnMessage implements gws.Event.
func (c *gwsConn) OnMessage(_ *gws.Conn, m *gws.Message) {
	defer m.Close()
	c.ev <- libraryEvent{binary: m.Opcode == gws.OpcodeBinary, data: append([]byte(nil), m.Bytes()...)}
}

// OnPong implements gws.Event.
func (c *gwsConn) OnPong(*gws.Conn, []byte) { c.pong <- struct{}{} }

// OnClose implements gws.Event.
func (c *gwsConn) OnClose(_ *gws.Conn, err error) {
	end := libraryEvent{end: err}
	var ce *gws.CloseError
	if errors.As(err, &ce) {
		end.code = int(ce.Code)
	}
	c.ev <- end
	close(c.over)
}

func (c *gwsConn) events() <-chan libraryEvent { return c.ev }

func (c *gwsConn) write(binary bool, p []byte) error {
	op := gws.OpcodeText
	if binary {
		op = gws.OpcodeBinary
	}
	return c.WriteMessage(op, p)
}

func (c *gwsConn) ping() error {
	if err := c.WritePing([]byte("x")); err != nil {
		return err
	}
	return pong(c.pong)
}

func (c *gwsConn) close(code int, reason string) error {
	err := c.WriteClose(uint16(code), []byte(reason))
	<-c.over
	return err
}
