// Package publish gives measured messages to a server over HTTP, on one
// persistent connection, and reads belfry's counters. The client of net/http
// would need more time for a request than some of the measured servers on the
// same processors, and the stamp in a message must be taken just before its
// bytes are sent.
package publish

import (
	"bytes"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"belfry/bench"
)

// Request makes the bytes of requests with a message. One goroutine may use it.
type Request struct {
	// Address is the host:port to connect to.
	Address string
	// Delivered, if not "", must be in the body of an answer, because some
	// servers report errors with a 200.
	Delivered string
	// Document makes the payload a JSON document; see bench.AppendDocument.
	Document bool

	method  string
	host    string
	target  bench.Template
	headers []byte
	form    bench.Template // of the body
	payload []byte         // scratch
	body    []byte
}

// NewRequest makes a Request for an http:// URL. URL and body are templates,
// in which {payload} and {uid} stand for the message's (see bench.Template);
// method "" is POST, body "" is the payload alone. headers are whole lines
// without their ends.
func NewRequest(method, to, body string, headers ...string) (*Request, error) {
	u, err := url.Parse(to)
	if err != nil {
		return nil, err
	}
	if u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("%s: not a URL that begins with http://", to)
	}
	if method == "" {
		method = "POST"
	}
	if body == "" {
		body = "{payload}"
	}
	r := &Request{method: method, host: u.Host, Address: u.Host, form: bench.ParseTemplate(body)}
	if u.Port() == "" {
		r.Address = net.JoinHostPort(u.Hostname(), "80")
	}
	_, path, _ := strings.Cut(to, "://") // unchanged: url.Parse would escape the braces
	path, _, _ = strings.Cut(path, "#")
	if at := strings.IndexAny(path, "/?"); at < 0 {
		path = "/"
	} else if path = path[at:]; path[0] == '?' {
		path = "/" + path
	}
	r.target = bench.ParseTemplate(path)
	for _, h := range headers {
		r.headers = append(append(r.headers, h...), "\r\n"...)
	}
	return r, nil
}

// Append appends the request that sends m with a payload of size bytes.
func (r *Request) Append(dst []byte, m bench.Message, size int) []byte {
	if r.payload = r.payload[:0]; r.Document {
		r.payload = bench.AppendDocument(r.payload, m, size)
	} else {
		r.payload = bench.AppendMessage(r.payload, m, size)
	}
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

// Accepts says whether an answer means that the message was accepted.
func (r *Request) Accepts(status int, body []byte) bool {
	return status/100 == 2 && bytes.Contains(body, []byte(r.Delivered))
}

// Busy says whether a status means that nothing was delivered and the message
// may be offered again.
func Busy(status int) bool { return status == 503 || status == 429 }
