package session

import (
	"bytes"
	"time"

	"belfry/poller"
)

// HealthPath is where requests are answered by Options.Healthy.
const HealthPath = "/healthz"

// health answers a request for HealthPath. It counts as no upgrade and has no
// line in the log: a balancer asks every few seconds. It is answered beyond the
// limit on sessions too, since a node that is full is not broken.
func (h *shard) health(slot uint32, answer *Refusal) {
	if !h.opt.Healthy() {
		answer.Status, answer.Problem = 503, "unhealthy"
	}
	rec := h.rec(slot)
	h.leaveHalf(rec)
	rec.reason = ReasonHealth
	h.buf = AppendRefusal(h.buf[:0], answer, h.date.at(time.Now()))
	h.ps.Send(slot, poller.Bytes(h.buf), poller.Data)
	h.drain(slot, rec)
}

// asksForHealth says whether a head is a request for HealthPath. The request
// line is all that counts: the checks of balancers are HTTP/1.0 as often as
// not, and have no Host.
func asksForHealth(head []byte) bool {
	line, _, _ := bytes.Cut(head, []byte("\r\n"))
	method, rest, _ := bytes.Cut(line, []byte(" "))
	target, version, _ := bytes.Cut(rest, []byte(" "))
	path, _, _ := bytes.Cut(target, []byte("?"))
	return string(path) == HealthPath && (string(method) == "GET" || string(method) == "HEAD") &&
		(string(version) == "HTTP/1.1" || string(version) == "HTTP/1.0")
}
