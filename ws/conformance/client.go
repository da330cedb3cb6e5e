package conformance

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// Opcodes of RFC 6455 §5.2, and the bit that ends a message.
const (
	opCont   = 0x0
	opText   = 0x1
	opBinary = 0x2
	opClose  = 0x8
	opPing   = 0x9
	opPong   = 0xa
	fin      = 0x80
)

// frame builds a masked frame. first is its first byte: FIN, RSV and opcode.
func frame(first byte, payload string) []byte {
	return appendFrame(nil, first, []byte(payload))
}

func appendFrame(dst []byte, first byte, payload []byte) []byte {
	const masked = 0x80
	switch n := len(payload); {
	case n < 126:
		dst = append(dst, first, masked|byte(n))
	case n < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, first, masked|126), uint16(n))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, first, masked|127), uint64(n))
	}
	mask := ws.NewMask()
	dst = append(append(dst, mask[:]...), payload...)
	ws.Cipher(dst[len(dst)-len(payload):], mask, 0)
	return dst
}

// fragments builds a message of op in frames of size bytes.
func fragments(op byte, payload []byte, size int) []byte {
	var dst []byte
	for len(payload) > size {
		dst = appendFrame(dst, op, payload[:size])
		payload, op = payload[size:], opCont
	}
	return appendFrame(dst, fin|op, payload)
}

// closeFrame builds a close frame with a code and a reason.
func closeFrame(code uint16, reason string) []byte {
	return frame(fin|opClose, string(binary.BigEndian.AppendUint16(nil, code))+reason)
}

// delivery is how frames are divided into writes.
type delivery int

const (
	atOnce    delivery = iota // all in one write
	frameWise                 // one write for each frame
	octetWise                 // one write for each byte
)

// deliveries are the three ways in which the suite repeats many cases.
var deliveries = [...]delivery{atOnce, frameWise, octetWise}

// client is a connection to the server under test, after the upgrade.
type client struct {
	t    *testing.T
	conn net.Conn
	br   *bufio.Reader
	buf  []byte // payload of the last message read

	deflate *deflation // nil if it was not negotiated
}

// connect connects and upgrades. offers are the extensions offered, "" for none.
func connect(t *testing.T, dial func() (net.Conn, error), offers string) *client {
	conn, err := dial()
	if err != nil {
		t.Fatal(err)
	}
	c := &client{t: t, conn: conn, br: bufio.NewReaderSize(conn, 64<<10)}
	c.must(conn.SetDeadline(time.Now().Add(timeout)))
	const key = "YmVsZnJ5LWNvbmZvcm1hbg=="
	extensions := ""
	if offers != "" {
		extensions = "Sec-WebSocket-Extensions: " + offers + "\r\n"
	}
	c.write([]byte("GET " + Path + " HTTP/1.1\r\nHost: " + conn.RemoteAddr().String() + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n" + extensions + "\r\n"))
	resp, err := http.ReadResponse(c.br, nil)
	if err != nil {
		t.Fatalf("upgrade: %v", err)
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	if got := resp.Header.Get("Sec-WebSocket-Accept"); resp.StatusCode != 101 || got != base64.StdEncoding.EncodeToString(sum[:]) {
		t.Fatalf("upgrade: status %s, Sec-WebSocket-Accept %q", resp.Status, got)
	}
	c.deflate, err = negotiated(offers, resp.Header.Values("Sec-WebSocket-Extensions"))
	c.must(err)
	return c
}

func (c *client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// write sends p. It is no failure if the server has closed already: the cases
// check what the server sent before.
func (c *client) write(p []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(p); err != nil && !closedByPeer(err) {
		c.t.Fatalf("write: %v", err)
	}
}

// send delivers frames.
func (c *client) send(way delivery, frames ...[]byte) {
	c.t.Helper()
	switch way {
	case atOnce:
		c.write(bytes.Join(frames, nil))
	case frameWise:
		for _, f := range frames {
			c.write(f)
		}
	case octetWise:
		c.chop(bytes.Join(frames, nil), 1)
	}
}

// chop writes p in pieces of n bytes.
func (c *client) chop(p []byte, n int) {
	c.t.Helper()
	for len(p) > n {
		c.write(p[:n])
		p = p[n:]
	}
	c.write(p)
}

// readFrame reads a frame of the server. It checks that the frame is unmasked, has
// the shortest form of the length, and has no RSV bit except that of deflate.
func (c *client) readFrame() (first byte, payload []byte, err error) {
	c.t.Helper()
	var head [10]byte
	if _, err := io.ReadFull(c.br, head[:2]); err != nil {
		return 0, nil, err
	}
	n, least := uint64(head[1]&0x7f), uint64(0)
	switch n {
	case 126:
		_, err = io.ReadFull(c.br, head[2:4])
		n, least = uint64(binary.BigEndian.Uint16(head[2:])), 126
	case 127:
		_, err = io.ReadFull(c.br, head[2:10])
		n, least = binary.BigEndian.Uint64(head[2:]), 1<<16
	}
	if err != nil {
		return 0, nil, err
	}
	reserved := head[0] & 0x70
	if op := head[0] & 0x0f; reserved == rsv1 && c.deflate != nil && (op == opText || op == opBinary) {
		reserved = 0
	}
	if head[1]&0x80 != 0 || reserved != 0 || n < least || n > 1<<25 {
		c.t.Fatalf("server sent a frame with the header % x", head)
	}
	if control := head[0]&0x08 != 0; control && (n > 125 || head[0]&fin == 0) {
		c.t.Fatalf("server sent a control frame with the header % x", head)
	}
	if cap(c.buf)-len(c.buf) < int(n) {
		c.buf = append(make([]byte, 0, len(c.buf)+int(n)), c.buf...)
	}
	payload = c.buf[len(c.buf) : len(c.buf)+int(n)]
	_, err = io.ReadFull(c.br, payload)
	return head[0], payload, err
}

// next reads the next message or control frame. It joins fragments and inflates
// compressed messages.
func (c *client) next() (op byte, payload []byte, err error) {
	c.t.Helper()
	c.buf = c.buf[:0]
	compressed := false
	for {
		first, part, err := c.readFrame()
		if err != nil {
			return 0, nil, err
		}
		if first&0x08 != 0 {
			return first & 0x0f, part, nil
		}
		if op == 0 {
			op, compressed = first&0x0f, first&rsv1 != 0
		} else if first&0x0f != opCont {
			c.t.Fatal("server began a message within another")
		}
		c.buf = c.buf[:len(c.buf)+len(part)]
		if first&fin == 0 {
			continue
		}
		if !compressed {
			return op, c.buf, nil
		}
		p, err := c.deflate.inflate(c.buf)
		if err != nil {
			c.t.Fatalf("inflating %d bytes of the server: %v", len(c.buf), err)
		}
		return op, p, nil
	}
}

// want reads the next message or control frame and compares it.
func (c *client) want(op byte, payload string) {
	c.t.Helper()
	got, p, err := c.next()
	if err != nil {
		c.t.Fatalf("waiting for opcode %d: %v", op, err)
	}
	if got != op || string(p) != payload {
		c.t.Fatalf("got opcode %d with %d bytes %.60q, want %d with %d bytes %.60q", got, len(p), p, op, len(payload), payload)
	}
}

// wantAtMost reads messages up to a close frame with 1000. They must have the
// opcode op and be the first ones of payloads.
func (c *client) wantAtMost(op byte, payloads ...string) {
	c.t.Helper()
	for _, want := range payloads {
		got, p, err := c.next()
		if err != nil {
			c.t.Fatalf("waiting for a message or a close frame: %v", err)
		}
		if got == opClose && string(p) == "\x03\xe8" {
			return
		}
		if got != op || string(p) != want {
			c.t.Fatalf("got opcode %d with %d bytes %.60q, want %d with %d bytes %.60q or a close frame", got, len(p), p, op, len(want), want)
		}
	}
	c.wantClose(1000)
}

// quiet fails if the server sends anything or closes within 50 ms.
func (c *client) quiet() {
	c.t.Helper()
	c.must(c.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond)))
	b, err := c.br.Peek(1)
	var netErr net.Error
	if !errors.As(err, &netErr) || !netErr.Timeout() {
		c.t.Fatalf("server reacted too early: % x, %v", b, err)
	}
	c.must(c.conn.SetReadDeadline(time.Now().Add(timeout)))
}

// closes sends a close frame with 1000, and expects its echo and the end of the
// connection.
func (c *client) closes() {
	c.t.Helper()
	c.write(closeFrame(1000, ""))
	c.wantClose(1000)
	c.wantEnd()
}

// fails expects that the server sends a close frame with code without being asked,
// and closes the connection.
func (c *client) fails(code uint16) {
	c.t.Helper()
	c.wantClose(code)
	c.write(closeFrame(code, ""))
	c.wantEnd()
}

// wantClose reads a close frame. Code 0 is one without a code.
func (c *client) wantClose(code uint16) {
	c.t.Helper()
	op, p, err := c.next()
	if err != nil {
		c.t.Fatalf("waiting for a close frame: %v", err)
	}
	if op != opClose {
		c.t.Fatalf("got opcode %d with %.60q, want a close frame", op, p)
	}
	var got uint16
	if len(p) >= 2 {
		got = binary.BigEndian.Uint16(p)
	}
	if got != code {
		c.t.Fatalf("server closed with %d %q, want %d", got, p[min(2, len(p)):], code)
	}
}

// wantEnd expects that the server closes the connection and sends nothing before.
func (c *client) wantEnd() {
	c.t.Helper()
	if op, p, err := c.next(); err == nil {
		c.t.Fatalf("after its close frame the server sent opcode %d with %.60q", op, p)
	} else if err != io.EOF && !closedByPeer(err) {
		c.t.Fatalf("waiting for the end of the connection: %v", err)
	}
}

func closedByPeer(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
