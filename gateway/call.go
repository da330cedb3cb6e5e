package gateway

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"strconv"
	"time"

	"belfry/events"
	"belfry/message"
	"belfry/session"
	"belfry/webhook"
	"belfry/ws"
)

// call sends an event to its backend and does what the answer says. again is true if
// the event is to be sent once more, after a pause.
func (g *Gateway) call(e *event) (again bool) {
	defer func() {
		if v := recover(); v != nil {
			g.fault(e, v)
			again = false
			if !e.answered {
				g.guard(e, func() { g.fail(e, causeFault, "") })
			}
		}
	}()
	if g.ctx.Err() != nil {
		g.fail(e, causeShutdown, "")
		return false
	}
	answer, err := g.ask(e)
	if err == nil {
		g.succeed(e, answer)
		return false
	}
	var status *webhook.StatusError
	switch {
	case g.ctx.Err() != nil:
		g.fail(e, causeShutdown, "")
	case errors.Is(err, webhook.ErrAnswerTooBig):
		g.fail(e, causeAnswer, "")
	case errors.As(err, &status) && isRefusal(status.Answer.Status):
		g.fail(e, causeRefused, reasonOf(status.Answer))
	case e.route.AtLeastOnce && !e.awaitsAnswer():
		e.tries++
		return true
	default:
		g.fail(e, causeFailed, "")
	}
	return false
}

// ask makes the call. While the backend is left alone, thousands of events may fail
// in a moment; no request is made for them.
func (g *Gateway) ask(e *event) (*webhook.Answer, error) {
	if e.route.Backend.Refuse() {
		return nil, webhook.ErrOpen
	}
	return e.route.Backend.Call(g.ctx, g.request(e))
}

// isRefusal says whether the backend does not want the event. The other statuses
// are failures that may pass.
func isRefusal(status int) bool {
	return status >= 400 && status < 500 && status != http.StatusTooManyRequests && status != http.StatusRequestTimeout
}

// awaitsAnswer says whether a client waits for what becomes of the event.
func (e *event) awaitsAnswer() bool { return e.kind == Message && e.in.Answered }

// firstPause is the pause before the second try of at_least_once.
const firstPause = 100 * time.Millisecond

// delay has the first event of q tried again after a pause.
func (g *Gateway) delay(q *queue) {
	pause := min(firstPause<<min(q.first.tries-1, 20), g.opt.RetryMax)
	pause = pause/2 + rand.N(pause/2) // or all come together again
	g.delayed[q] = time.AfterFunc(pause, func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if _, waits := g.delayed[q]; waits {
			delete(g.delayed, q)
			g.replace(q.first)
			g.ready(q)
		}
	})
}

// request makes the call for an event. It is the same for each try.
func (g *Gateway) request(e *event) *webhook.Call {
	c, node := e.client, e.node
	if node == "" {
		node = g.opt.Node
	}
	call := &webhook.Call{
		ID:     g.id(e),
		Type:   kindInfo[e.kind].ceType,
		Source: "/nodes/" + node,
		Time:   e.at,
		Caller: webhook.CallerOf(c.UID, ws.ClientPrefix(c.Addr.Addr())),
		Extensions: []webhook.Attribute{
			{Name: "sid", Value: c.SID}, {Name: "uid", Value: c.UID}, {Name: "node", Value: node},
			{Name: "topic", Value: e.topic}, {Name: "address", Value: address(c)},
			{Name: "agent", Value: c.Agent}, {Name: "encoding", Value: c.Encoding}, {Name: "meta", Value: string(c.Meta)},
		},
		Header:     e.route.keptHeader(c.Kept),
		Idempotent: e.route.Idempotent,
	}
	if e.kind != Message {
		call.ContentType, call.Body = "application/json", body(e)
		return call
	}
	call.Extensions[3].Value = e.in.Topic
	call.Extensions = append(call.Extensions, webhook.Attribute{Name: "event", Value: e.in.Event})
	call.ContentType, call.Body = contentType(e.in), e.in.Payload
	return call
}

// id returns the id of an event: different from all others, also of other nodes and
// of earlier starts.
func (g *Gateway) id(e *event) string {
	if e.node != "" {
		return "gone-" + e.client.SID
	}
	return g.prefix + strconv.FormatUint(e.seq, 36)
}

func address(c *session.Client) string {
	if !c.Addr.IsValid() {
		return ""
	}
	return c.Addr.String()
}

// contentType returns the type of a message. Clients of the plain encoding say only
// whether it is text; a JSON object or array is recognised, because the frameworks
// of backends parse only what is called JSON.
func contentType(in *session.Inbound) string {
	switch {
	case in.Kind == message.Binary:
		return "application/octet-stream"
	case in.JSON:
		return "application/json"
	case len(in.Payload) > 1 && (in.Payload[0] == '{' || in.Payload[0] == '[') && json.Valid(in.Payload):
		return "application/json"
	}
	return "text/plain; charset=utf-8"
}

// body returns the data of an event that is no message.
func body(e *event) []byte {
	d := events.DataOf(e.client)
	d.Topic, d.Reason, d.Lasted = e.topic, e.reason, e.lasted
	return d.Append(make([]byte, 0, 256+len(d.Meta)))
}
