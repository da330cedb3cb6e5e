package push

import (
	"bytes"
	"net/http"
	"strconv"
	"time"
)

// What net/http writes in its own words.
const (
	oldTooLarge = "413 Request Entity Too Large\r\n"
	newTooLarge = "413 Content Too Large\r\n" // RFC 9110 §15.5.14
	// rawFields are the fields of what it answers without a handler.
	rawFields = "\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n\r\n"
)

// rawCauses are the causes of what net/http refuses without a handler.
var rawCauses = [...]Cause{CauseHTTP, CauseHead, CauseTransferCoding, CauseVersion}

// amend returns what to write in the place of p, nil if p is fine, and whether
// net/http closes the connection without reading on. p is what net/http writes
// at once: where an answer begins, p begins with it.
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

// rawProblem is the whole answer for a request that net/http did not take.
// status is its status line from the code on, with what was wrong if it said so.
func rawProblem(cause Cause, status []byte) []byte {
	p := &problem{cause: cause, detail: rawDetails[cause]}
	if _, why, ok := bytes.Cut(status, []byte(": ")); ok {
		p.detail = string(why)
	}
	return p.whole()
}

// rawDetails are the details where net/http tells none.
var rawDetails = map[Cause]string{
	CauseHTTP:           "what came is not a request of HTTP/1.1 (RFC 9112)",
	CauseHead:           "allowed are request lines and headers up to api.max_head",
	CauseTransferCoding: "allowed is Transfer-Encoding: chunked",
	CauseVersion:        "allowed are HTTP/1.1 and HTTP/1.0",
}

// whole returns the problem as a whole answer, after which the connection
// closes. The Date is RFC 9110 §6.6.1's.
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
