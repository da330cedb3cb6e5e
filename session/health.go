package session

import (
	"time"

	"belfry/poller"
	"belfry/ws"
)

// HealthPath is where requests are answered by Options.Healthy.
const HealthPath = "/healthz"

// health answers a request for HealthPath. It counts as no upgrade and has no
// line in the log: a balancer asks every few seconds. It is answered beyond the
// limit on sessions too, since a node that is full is not broken.
func (h *shard) health(slot uint32, answer *ws.Refusal) {
	if !h.opt.Healthy() {
		answer.Status, answer.Detail = 503, "unhealthy"
	}
	rec := h.rec(slot)
	h.halfOpen.leave(rec)
	rec.reason = ReasonHealth
	h.buf = ws.AppendRefusal(h.buf[:0], answer, h.date.At(time.Now()))
	h.ps.Send(slot, poller.Bytes(h.buf), poller.Data)
	h.halfClose(slot, rec)
}
