package push

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// Texts that net/http writes by itself.
const (
	oldTooLarge = "413 Request Entity Too Large\r\n"
	newTooLarge = "413 Content Too Large\r\n" // RFC 9110 §15.5.14
	// rawFields are the header fields of answers without a handler.
	rawFields = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
)

// rawCauses are the causes for which net/http refuses requests without a handler.
var rawCauses = [...]Cause{CauseHTTP, CauseHead, CauseTransferCoding, CauseVersion}

// amend returns the bytes to write instead of p, nil if p need not be changed.
// closes says that net/http will close the connection without reading on. p has the
// bytes of one write of net/http: if it contains the beginning of an answer, it
// begins with it.
func (c *counters) amend(p []byte) (out []byte, closes bool) {
	const version = len("HTTP/1.1 ")
	if len(p) < version+4 || p[version] < '4' || string(p[:5]) != "HTTP/" {
		return nil, false
	}
	status := p[version:]
	if bytes.HasPrefix(status, []byte(oldTooLarge)) {
		out = append(make([]byte, 0, len(p)), p[:version]...)
		return append(append(out, newTooLarge...), status[len(oldTooLarge):]...), false
	}
	line, rest, ok := bytes.Cut(p, []byte("\r\n"))
	if !ok || !bytes.HasPrefix(rest, []byte(rawFields[2:])) {
		return nil, false
	}
	code, _ := strconv.Atoi(string(status[:3]))
	for _, cause := range rawCauses {
		if cause.Status() == code {
			c.rejected[cause].Add(1)
			return rawProblem(cause, line[version:]), true
		}
	}
	return nil, false
}

// rawProblem returns the complete answer for a request that net/http refused.
// status is the status line of net/http without the version; it may contain a
// detail after a colon.
func rawProblem(cause Cause, status []byte) []byte {
	p := &problem{cause: cause, detail: rawDetails[cause]}
	if _, detail, ok := bytes.Cut(status, []byte(": ")); ok {
		p.detail = string(detail)
	}
	return p.whole()
}

// rawDetails are the details for answers of net/http without one.
var rawDetails = map[Cause]string{
	CauseHTTP:           "the input is not a request of HTTP/1.1 (RFC 9112)",
	CauseHead:           "allowed are request lines and headers up to api.max_head",
	CauseTransferCoding: "allowed is Transfer-Encoding: chunked",
	CauseVersion:        "allowed are HTTP/1.1 and HTTP/1.0",
}

// whole returns the problem as a complete answer, with a Date (RFC 9110 §6.6.1) and
// Connection: close.
func (p *problem) whole() []byte {
	body := append(p.appendJSON(make([]byte, 0, 512)), '\n')
	out := append(make([]byte, 0, len(body)+256), "HTTP/1.1 "...)
	out = strconv.AppendInt(out, int64(p.cause.Status()), 10)
	out = append(append(append(out, ' '), http.StatusText(p.cause.Status())...), "\r\nDate: "...)
	out = time.Now().UTC().AppendFormat(out, http.TimeFormat)
	out = append(append(out, "\r\nContent-Type: "...), problemType[0]...)
	if p.cause.Status() == http.StatusServiceUnavailable {
		out = strconv.AppendInt(append(out, "\r\nRetry-After: "...), p.retrySeconds(), 10)
	}
	out = append(out, "\r\nConnection: close\r\nContent-Length: "...)
	out = strconv.AppendInt(out, int64(len(body)), 10)
	return append(append(out, "\r\n\r\n"...), body...)
}
