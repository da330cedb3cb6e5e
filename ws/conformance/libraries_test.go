package conformance_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	coder "github.com/coder/websocket"
	"github.com/gorilla/websocket"
	"github.com/lxzan/gws"

	"belfry/ws"
	"belfry/ws/conformance"
)

// TestDeflateLibraries echoes compressed messages with client libraries that
// each negotiate and compress in their own way.
func TestDeflateLibraries(t *testing.T) {
	d, err := ws.NewDeflater(ws.DeflateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	url := "ws://" + serve(t, func(conn *net.TCPConn) { echo(conn, d) }) + conformance.Path
	for name, dial := range map[string]func(string) (exchange, string, error){
		"gorilla":                dialGorilla,
		"coder":                  func(url string) (exchange, string, error) { return dialCoder(url, coder.CompressionNoContextTakeover) },
		"coder, context offered": func(url string) (exchange, string, error) { return dialCoder(url, coder.CompressionContextTakeover) },
		"gws":                    func(url string) (exchange, string, error) { return dialGWS(url, 15) },
		"gws, window offered":    func(url string) (exchange, string, error) { return dialGWS(url, 12) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			echo, answer, err := dial(url)
			if err != nil {
				t.Fatal(err)
			}
			declined := strings.HasSuffix(name, "window offered")
			if strings.HasPrefix(answer, "permessage-deflate; server_no_context_takeover; client_no_context_takeover") == declined {
				t.Errorf("answer %q", answer)
			}
			for i, n := range []int{0, 1, 100, 1023, 1024, 4096, 4096, 70000, 100, 300000} {
				text := fmt.Appendf(nil, "%d: %s", i, bytes.Repeat([]byte("Größe ∑ belfry "), n/18+1))
				got, err := echo(text)
				if err != nil || !bytes.Equal(got, text) {
					t.Fatalf("message of %d bytes: %d bytes, %v", len(text), len(got), err)
				}
			}
		})
	}
}

// exchange sends a text message and returns the next one.
type exchange func(text []byte) ([]byte, error)

func extensions(resp *http.Response) string { return resp.Header.Get("Sec-WebSocket-Extensions") }

func dialGorilla(url string) (exchange, string, error) {
	d := websocket.Dialer{EnableCompression: true, WriteBufferSize: 1 << 10} // small: large messages go in fragments
	conn, resp, err := d.Dial(url, nil)
	if err != nil {
		return nil, "", err
	}
	conn.SetReadDeadline(time.Now().Add(time.Minute))
	return func(text []byte) ([]byte, error) {
		if err := conn.WriteMessage(websocket.TextMessage, text); err != nil {
			return nil, err
		}
		_, p, err := conn.ReadMessage()
		return p, err
	}, extensions(resp), nil
}

func dialCoder(url string, mode coder.CompressionMode) (exchange, string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	conn, resp, err := coder.Dial(ctx, url, &coder.DialOptions{CompressionMode: mode, CompressionThreshold: 1})
	if err != nil {
		cancel()
		return nil, "", err
	}
	conn.SetReadLimit(1 << 20)
	return func(text []byte) ([]byte, error) {
		if err := conn.Write(ctx, coder.MessageText, text); err != nil {
			cancel()
			return nil, err
		}
		_, p, err := conn.Read(ctx)
		return p, err
	}, extensions(resp), nil
}

// gwsReader sends the messages that gws receives to a channel.
type gwsReader struct {
	gws.BuiltinEventHandler
	received chan []byte
}

func (r *gwsReader) OnMessage(_ *gws.Conn, m *gws.Message) {
	p, _ := io.ReadAll(m)
	r.received <- p
	m.Close()
}

func (r *gwsReader) OnClose(*gws.Conn, error) { close(r.received) }

func dialGWS(url string, window int) (exchange, string, error) {
	r := &gwsReader{received: make(chan []byte, 1)}
	conn, resp, err := gws.NewClient(r, &gws.ClientOption{
		Addr:              url,
		PermessageDeflate: gws.PermessageDeflate{Enabled: true, Threshold: 1, ServerMaxWindowBits: window},
	})
	if err != nil {
		return nil, "", err
	}
	go conn.ReadLoop()
	return func(text []byte) ([]byte, error) {
		if err := conn.WriteMessage(gws.OpcodeText, text); err != nil {
			return nil, err
		}
		select {
		case p, ok := <-r.received:
			if !ok {
				return nil, io.ErrUnexpectedEOF
			}
			return p, nil
		case <-time.After(time.Minute):
			return nil, context.DeadlineExceeded
		}
	}, extensions(resp), nil
}
