package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"belfry/bench"
	"belfry/bench/peers/peer"
)

const (
	pushPatience = 10 * time.Second // for one push with its repetitions
	maxAnswer    = 64 << 10         // bytes
)

// httpConn is one kept-alive connection that publishes. net/http's client
// would spend more on a request than some of the servers, on the same
// processors.
type httpConn struct {
	form    *peer.Request
	conn    net.Conn
	r       *bufio.Reader
	clock   bench.Clock
	target  bench.Template
	body    bench.Template
	headers string
	refused int // pushes answered with 503 and repeated

	payload, content, request, answer []byte // scratch
}

func dialHTTP(addr string, form *peer.Request) (*httpConn, error) {
	c, err := net.DialTimeout("tcp4", addr, pushPatience)
	if err != nil {
		return nil, fmt.Errorf("the server's API: %w", err)
	}
	h := &httpConn{form: form, conn: c, r: bufio.NewReader(c), clock: bench.NewClock(),
		target: bench.ParseTemplate(form.Path), body: bench.ParseTemplate("{payload}")}
	if form.Body != "" {
		h.body = bench.ParseTemplate(form.Body)
	}
	h.headers = "Host: " + addr + "\r\n"
	for _, line := range form.Headers {
		h.headers += line + "\r\n"
	}
	return h, nil
}

func (h *httpConn) close() { h.conn.Close() }

// push stamps and posts a message. A 503 says that nothing was delivered, so
// it is repeated a little later.
func (h *httpConn) push(ctx context.Context, m bench.Message, size int) (stamp int64, err error) {
	deadline := time.Now().Add(pushPatience)
	if err := h.conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	for {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		m.Stamp = h.clock.Now()
		h.write(m, size)
		status := 0
		if _, err = h.conn.Write(h.request); err == nil {
			status, err = h.read()
		}
		switch {
		case err != nil:
			return 0, fmt.Errorf("POST %s: %w", h.form.Path, err)
		case status/100 == 2 && bytes.Contains(h.answer, []byte(h.form.Delivered)):
			return m.Stamp, nil
		case status != http.StatusServiceUnavailable || time.Now().After(deadline):
			return 0, fmt.Errorf("POST %s: status %d: %.200s", h.form.Path, status, h.answer)
		}
		h.refused++
		time.Sleep(time.Millisecond)
	}
}

// write makes the request.
func (h *httpConn) write(m bench.Message, size int) {
	h.payload = bench.AppendMessage(h.payload[:0], m, size)
	v := bench.Values{User: int(m.User), Payload: h.payload}
	h.content = h.body.Append(h.content[:0], v)
	p := append(h.request[:0], "POST "...)
	p = h.target.Append(p, v)
	p = append(p, " HTTP/1.1\r\n"...)
	p = append(p, h.headers...)
	p = append(p, "Content-Length: "...)
	p = strconv.AppendInt(p, int64(len(h.content)), 10)
	p = append(p, "\r\n\r\n"...)
	h.request = append(p, h.content...)
}

// read reads an answer, whose body is then in h.answer.
func (h *httpConn) read() (status int, err error) {
	line, err := h.r.ReadSlice('\n')
	if err != nil {
		return 0, err
	}
	if len(line) < len("HTTP/1.1 200") {
		return 0, fmt.Errorf("status line %q", line)
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil {
		return 0, fmt.Errorf("status line %q", line)
	}
	length := 0
	for {
		line, err := h.r.ReadSlice('\n')
		if err != nil {
			return 0, err
		}
		name, value, more := bytes.Cut(line, []byte(":"))
		switch {
		case !more: // the empty line
			if length < 0 || length > maxAnswer {
				return 0, fmt.Errorf("answer of %d bytes; at most %d", length, maxAnswer)
			}
			h.answer = append(h.answer[:0], make([]byte, length)...)
			_, err := io.ReadFull(h.r, h.answer)
			return status, err
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return 0, err
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			return 0, errors.New("answer in chunks; a Content-Length is needed")
		}
	}
}
