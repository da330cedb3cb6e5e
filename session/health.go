package session

import (
	"time"

	"belfry/poller"
	"belfry/ws"
)

// HealthPath is the path of requests that Options.Healthy answers.
const HealthPath = "/healthz"

// health answers a request for HealthPath. The request does not count as an
// upgrade and has no line in the log: a load balancer asks every few seconds. It
// is answered beyond the limit on connections too, since a full node is not
// broken.
func (f *refuser) health(slot uint32, answer *ws.Refusal) {
	if !f.opt.Healthy() {
		answer.Status, answer.Detail = 503, "unhealthy"
	}
	rec := f.rec(slot)
	f.halfOpen.leave(rec)
	rec.reason = ReasonHealth
	f.buf = ws.AppendRefusal(f.buf[:0], answer, f.date.At(time.Now()))
	f.ps.Send(slot, poller.Bytes(f.buf), poller.Data)
	f.closer.halfClose(slot, rec)
}
