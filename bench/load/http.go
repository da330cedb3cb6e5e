package load

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"time"

	"belfry/bench"
)

// request makes the bytes of HTTP requests from a template. net/http would
// take more processor time than the server under test.
type request struct {
	address string // host:port to connect to
	method  string
	host    string
	target  bench.Template
	headers []byte
	form    bench.Template // of the body
	payload []byte         // scratch
	body    []byte
}

func newRequest(p *Publish, to, body string) (*request, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	r := &request{method: p.Method, host: u.Host, address: u.Host, form: bench.ParseTemplate(body)}
	if u.Port() == "" {
		r.address = net.JoinHostPort(u.Hostname(), "80")
	}
	_, rest, _ := bytes.Cut([]byte(to), []byte("://"))
	at := bytes.IndexByte(rest, '/') // as it stands: url.Parse would escape the braces
	if at < 0 {
		at, rest = 0, []byte("/")
	}
	r.target = bench.ParseTemplate(string(rest[at:]))
	for _, h := range p.Headers {
		r.headers = append(append(r.headers, h...), "\r\n"...)
	}
	return r, nil
}

// append appends the request that sends m.
func (r *request) append(dst []byte, m bench.Message, size int) []byte {
	r.payload = bench.AppendMessage(r.payload[:0], m, size)
	v := bench.Values{User: int(m.User), Payload: r.payload}
	r.body = r.form.Append(r.body[:0], v)
	dst = append(append(dst, r.method...), ' ')
	dst = r.target.Append(dst, v)
	dst = append(append(dst, " HTTP/1.1\r\nHost: "...), r.host...)
	dst = append(append(dst, "\r\n"...), r.headers...)
	dst = append(dst, "Content-Length: "...)
	dst = strconv.AppendInt(dst, int64(len(r.body)), 10)
	return append(append(dst, "\r\n\r\n"...), r.body...)
}

// maxResponse is the longest response taken, in bytes.
const maxResponse = 64 << 10

var (
	errResponse = errors.New("malformed HTTP response")
	errLength   = errors.New("HTTP response without Content-Length or chunks")
	errClosing  = errors.New("the server closes the connection after a response: it has to keep it")
)

// parseHTTP looks for a whole response at the start of p and says how long it
// is, 0 if it is not all there yet.
func parseHTTP(p []byte) (status, n int, body []byte, err error) {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	if end < 0 {
		if len(p) > maxResponse {
			err = errResponse
		}
		return 0, 0, nil, err
	}
	line, rest, _ := bytes.Cut(p[:end+2], []byte("\r\n"))
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return 0, 0, nil, errResponse
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil || status < 200 {
		return 0, 0, nil, errResponse
	}
	length, chunked, closing := -1, false, false
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 || length > maxResponse {
				return 0, 0, nil, errResponse
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("Connection")):
			closing = bytes.EqualFold(value, []byte("close"))
		}
	}
	end += 4
	switch {
	case status == 204:
		length = 0
	case chunked: // the answers of APIs are short: the last chunk ends them
		last := bytes.Index(p[end-2:], []byte("\r\n0\r\n\r\n"))
		if last < 0 {
			return 0, 0, nil, nil
		}
		length = last - 2 + len("\r\n0\r\n\r\n")
	case length < 0:
		return 0, 0, nil, errLength
	}
	if len(p) < end+length {
		return 0, 0, nil, nil
	}
	if body = p[end : end+length]; closing {
		err = fmt.Errorf("%w: status %d: %.200s", errClosing, status, body)
	}
	return status, end + length, body, err
}

// httpConn is one kept-alive connection, for one request at a time.
type httpConn struct {
	conn net.Conn
	in   []byte
	last []byte // body of the last response
}

// answerTimeout bounds one request.
const answerTimeout = 30 * time.Second

func dialHTTP(address string) (*httpConn, error) {
	c, err := net.DialTimeout("tcp", address, answerTimeout)
	if err != nil {
		return nil, fmt.Errorf("the API: %w", err)
	}
	return &httpConn{conn: c, in: make([]byte, 0, 4096)}, nil
}

func (c *httpConn) close() { c.conn.Close() }

func (c *httpConn) body() []byte { return c.last }

func (c *httpConn) roundTrip(ctx context.Context, request []byte) (status int, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(answerTimeout)); err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := c.conn.Write(request); err != nil {
		return 0, err
	}
	c.in = c.in[:0]
	for {
		var room [4096]byte
		n, err := c.conn.Read(room[:])
		if ctx.Err() != nil {
			return 0, context.Cause(ctx)
		}
		if err != nil {
			return 0, err
		}
		c.in = append(c.in, room[:n]...)
		status, n, body, err := parseHTTP(c.in)
		if err != nil || n > 0 {
			c.last = body
			return status, err
		}
	}
}
