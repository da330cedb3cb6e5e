package session

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"testing"
	"time"

	gobwas "github.com/gobwas/ws"

	"belfry/ws"
)

// clientTimeout is how long a client of a test waits for input. What takes
// long as a whole may take longer.
const clientTimeout = time.Minute

// rawConn is a client that shows every frame and sends what it is told, right or
// wrong. Its errors are returned, so any goroutine may use it.
type rawConn struct {
	*net.TCPConn
	br *bufio.Reader
}

// request is the head that asks for path, "" of a subprotocol for none.
func request(path, subprotocol string) []byte {
	head := fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n", path)
	if subprotocol != "" {
		head = fmt.Appendf(head, "Sec-WebSocket-Protocol: %s\r\n", subprotocol)
	}
	return append(head, "\r\n"...)
}

// connect only connects.
func (r *rig) connect() (*rawConn, error) { return r.connectFrom("") }

// connectFrom is connect with an address of its own, of which 127.0.0.0/8 has
// many; "" leaves it to the kernel.
func (r *rig) connectFrom(address string) (*rawConn, error) {
	d := net.Dialer{}
	if address != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(address)}
	}
	c, err := d.Dial("tcp", r.Addrs()[0].String())
	if err != nil {
		return nil, err
	}
	return &rawConn{c.(*net.TCPConn), bufio.NewReader(c)}, nil
}

// rawConn connects and upgrades.
func (r *rig) rawConn(path, subprotocol string) (*rawConn, error) {
	w, err := r.connect()
	if err != nil {
		return nil, err
	}
	w.Write(request(path, subprotocol))
	if status, err := w.answer(); err != nil || status != 101 {
		w.Close()
		return nil, fmt.Errorf("%s: %d, %v", path, status, err)
	}
	return w, nil
}

// mustWire is rawConn for the test's own goroutine.
func (r *rig) mustWire(path, subprotocol string) *rawConn {
	r.t.Helper()
	w, err := r.rawConn(path, subprotocol)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { w.Close() })
	return w
}

// answer reads the response to the upgrade.
func (w *rawConn) answer() (status int, err error) {
	w.SetReadDeadline(time.Now().Add(clientTimeout))
	resp, err := http.ReadResponse(w.br, nil)
	if err != nil {
		return 0, err
	}
	return resp.StatusCode, nil
}

// frame reads the next frame.
func (w *rawConn) frame() (op gobwas.OpCode, payload []byte, err error) {
	w.SetReadDeadline(time.Now().Add(clientTimeout))
	f, err := readFrame(w.br)
	return f.Header.OpCode, f.Payload, err
}

// Write writes raw bytes.
func (w *rawConn) Write(p []byte) (int, error) {
	w.SetWriteDeadline(time.Now().Add(clientTimeout))
	return w.TCPConn.Write(p)
}

// masked returns a client's frame.
func masked(op gobwas.OpCode, fin bool, payload []byte) []byte {
	return gobwas.MustCompileFrame(gobwas.MaskFrame(gobwas.NewFrame(op, fin, payload)))
}

func (w *rawConn) send(op gobwas.OpCode, payload []byte) error {
	_, err := w.Write(masked(op, true, payload))
	return err
}

// end reads up to a close frame, then up to the end of the connection, which
// must come without an error (a reset would be one). Code 1005 stands for a
// close frame without a code.
func (w *rawConn) end() (texts []string, code uint16, reason string, err error) {
	for {
		op, payload, err := w.frame()
		if err != nil {
			return texts, 0, "", fmt.Errorf("before a close frame: %w", err)
		}
		switch op {
		case gobwas.OpText, gobwas.OpBinary:
			texts = append(texts, string(payload))
		case gobwas.OpClose:
			if code = ws.CloseNoStatus; len(payload) >= 2 {
				code, reason = binary.BigEndian.Uint16(payload), string(payload[2:])
			}
			return texts, code, reason, nil
		}
	}
}

// ended reads to the end of the connection, and fails unless nothing comes and
// it is a regular end.
func (w *rawConn) ended(t *testing.T) {
	t.Helper()
	w.SetReadDeadline(time.Now().Add(clientTimeout))
	if p, err := w.br.ReadByte(); err == nil {
		t.Errorf("byte %#x after the close frame", p)
	} else if err.Error() != "EOF" {
		t.Errorf("after the close frame: %v", err)
	}
}
