package broadcast

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"
)

// Received implements ControlReceiver.
func (c *Control) Received(p []byte) {
	defer c.faults.caught("control")
	c.count.controlReceived.Add(1)
	m, err := parseControl(p)
	if err != nil {
		c.count.malformed.Add(1)
		c.log.Warn("malformed control message dropped", zap.Error(err))
		return
	}
	if m.from.ID == c.self.ID {
		return // another process with this node's name; the beacons report it
	}
	if m.form == formAnswer || m.form == formRefusal {
		c.answered(&m)
		return
	}
	k := c.kinds[m.kind]
	if k == nil {
		c.drop(&m, &c.count.controlUnknown, fmt.Sprintf("there is no command %q; all nodes should run the same version", m.kind))
		return
	}
	cmd := command{controlMessage: m}
	if m.form == formAsk {
		cmd.until = time.Now().Add(m.left)
	}
	if k.queue == nil {
		c.serve(k, &cmd)
		return
	}
	select {
	case k.queue <- cmd:
	default:
		c.drop(&m, &c.count.controlDropped, fmt.Sprintf("too many commands %q wait", m.kind))
	}
}

// answered passes an answer to the goroutine that waits for it.
func (c *Control) answered(m *controlMessage) {
	c.mu.Lock()
	q := c.asked[m.ref]
	c.mu.Unlock()
	if q == nil || q.kind != m.kind {
		c.count.controlLate.Add(1)
		return
	}
	a := Answer{Peer: m.from, Body: m.body}
	if m.form == formRefusal {
		a.Body, a.Err = nil, &RefusedError{Node: m.from.Name, Detail: string(m.body)}
	}
	select {
	case q.got <- a:
	default: // more nodes answer than are known
		c.count.controlDropped.Add(1)
	}
}

// PeerUp implements ControlReceiver.
func (c *Control) PeerUp(p Peer) {
	defer c.faults.caught("peer")
	for _, f := range c.onPeer {
		f(p)
	}
}

// Up implements ControlReceiver.
func (c *Control) Up() {
	for _, p := range c.bus.Peers() {
		c.PeerUp(p)
	}
}

// run runs the commands of one kind.
func (c *Control) run(k *kind) {
	defer c.wg.Done()
	for {
		select {
		case cmd := <-k.queue:
			c.serve(k, &cmd)
		case <-c.stop.Done():
			return
		}
	}
}

// serve runs one command and answers it.
func (c *Control) serve(k *kind, cmd *command) {
	if cmd.form == formTell {
		if _, err := c.call(c.stop, k, cmd); err != nil {
			c.log.Warn("command of another node failed", zap.String("kind", cmd.kind), zap.String("from", cmd.from.Name), zap.Error(err))
		}
		return
	}
	if time.Until(cmd.until) <= 0 {
		c.count.controlLate.Add(1)
		return
	}
	ctx, cancel := context.WithDeadline(c.stop, cmd.until)
	defer cancel()
	body, err := c.call(ctx, k, cmd)
	if err == nil && len(body) > MaxControlBody {
		err = fmt.Errorf("the answer has %d bytes; allowed are at most %d", len(body), MaxControlBody)
	}
	if err != nil {
		c.refuse(&cmd.controlMessage, err.Error())
		return
	}
	c.reply(&cmd.controlMessage, formAnswer, body)
}

// call calls the handler and turns its panic into an error.
func (c *Control) call(ctx context.Context, k *kind, cmd *command) (body []byte, err error) {
	defer func() {
		if v := recover(); v != nil {
			c.faults.report("control "+cmd.kind, v)
			err = errors.New("a fault of belfry; the log of the node has it")
		}
	}()
	return k.handler(ctx, cmd.from, cmd.body)
}

// drop counts a command that is not run, and refuses it if its answer is awaited.
func (c *Control) drop(m *controlMessage, count interface{ Add(uint64) uint64 }, detail string) {
	count.Add(1)
	c.log.Warn("command of another node dropped", zap.String("kind", m.kind), zap.String("from", m.from.Name), zap.String("detail", detail))
	if m.form == formAsk {
		c.refuse(m, detail)
	}
}

// maxRefusal limits the text of a refusal, in bytes.
const maxRefusal = 512

func (c *Control) refuse(m *controlMessage, detail string) {
	if len(detail) > maxRefusal {
		detail = detail[:maxRefusal]
		for !utf8.ValidString(detail) && len(detail) > maxRefusal-utf8.UTFMax {
			detail = detail[:len(detail)-1]
		}
	}
	c.reply(m, formRefusal, []byte(detail))
}

// reply answers an ask. If there is no connection, the asking node counts the
// missing answer.
func (c *Control) reply(m *controlMessage, f form, body []byte) {
	node := m.from.ID
	_ = c.publish(&node, &controlMessage{form: f, kind: m.kind, ref: m.ref, body: body})
}
