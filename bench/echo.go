package bench

import (
	"errors"
	"fmt"
)

// Echo describes messages to send to a server that sends them back.
type Echo struct {
	Rate     float64 `json:"rate"` // messages a second over all connections of the process; 0 sends the next one of a connection when the last is back
	Size     int     `json:"size"` // of the payload, in bytes
	Duration int64   `json:"duration_ns"`
	Grace    int64   `json:"patience_ns"`       // how long to wait for the last answers
	Message  string  `json:"message,omitempty"` // a Template that holds the payload; "" is the payload alone
}

// Echoed is the result of an Echo. The answers are in Stats.Direct.
type Echoed struct {
	Sent  uint64 `json:"sent"`
	Back  uint64 `json:"back"`
	Late  int64  `json:"late_ns"` // largest delay of a message after its time, because the client was too slow
	Start int64  `json:"start"`
	End   int64  `json:"end"` // stamp of the last answer
}

// echoing is an Echo in progress.
type echoing struct {
	Echo
	Echoed
	message Template
	due     float64 // when the next message is due
	cursor  int     // the connection it is for
	until   int64
}

// Echo begins to send messages on the open connections; Poll does the work, and
// Echoed returns the result at the end.
func (c *Client) Echo(e Echo) error {
	switch {
	case c.echo != nil:
		return errors.New("echoes are being sent")
	case c.stats.Open == 0:
		return errors.New("no connection is open")
	case c.wire.Events:
		return errors.New("nothing can be sent on an event stream")
	case e.Rate < 0:
		return fmt.Errorf("rate: %v; at least 0", e.Rate)
	case e.Size < MinPayload || e.Size >= MaxFrame:
		return fmt.Errorf("size: %d; allowed are %d to %d", e.Size, MinPayload, MaxFrame-1)
	}
	now := c.clock.Now()
	x := &echoing{Echo: e, due: float64(now), until: now + e.Duration, Echoed: Echoed{Start: now, End: now}}
	if e.Message == "" {
		e.Message = "{payload}"
	}
	x.message = ParseTemplate(e.Message)
	c.echo = x
	if e.Rate == 0 {
		for i := range c.conns {
			if k := &c.conns[i]; k.state == connOpen && !k.slow {
				c.sendEcho(uint32(i), c.clock.Now())
			}
		}
	}
	return nil
}

// Echoed returns the result when every answer has arrived or was given up.
func (c *Client) Echoed() (Echoed, bool) {
	x := c.echo
	now := c.clock.Now()
	if x == nil || now < x.until {
		return Echoed{}, false
	}
	unsent := x.Rate > 0 && x.due < float64(x.until)
	if (unsent || x.Back < x.Sent) && now < x.until+x.Grace && c.stats.Open > 0 {
		return Echoed{}, false
	}
	c.echo = nil
	return x.Echoed, true
}

// sendDue sends the messages that are due. The stamp is the time when a message
// was due, so a message that is late because earlier ones were slow counts as
// slow too.
func (c *Client) sendDue() {
	x := c.echo
	if x.Rate == 0 {
		return
	}
	now := c.clock.Now()
	for end := float64(min(now, x.until)); x.due < end && c.stats.Open > 0; x.due += 1e9 / x.Rate {
		for range c.conns { // the next open connection
			x.cursor = (x.cursor + 1) % len(c.conns)
			if k := &c.conns[x.cursor]; k.state == connOpen && !k.slow {
				x.Late = max(x.Late, now-int64(x.due))
				c.sendEcho(uint32(x.cursor), int64(x.due))
				break
			}
		}
	}
}

// sendEcho sends the next message of connection i.
func (c *Client) sendEcho(i uint32, stamp int64) {
	k := &c.conns[i]
	k.sent++
	n := int(k.number)
	c.payload = AppendMessage(c.payload[:0], Message{Direct, uint32(c.wire.user(n)), k.sent, stamp}, c.echo.Size)
	c.text = c.echo.message.Append(c.text[:0], c.wire.values(n, c.payload))
	if c.send(i, c.text) {
		c.echo.Sent++
	}
}

// echoed counts a message of connection i that came back.
func (c *Client) echoed(i uint32) {
	x := c.echo
	x.Back++
	x.End = c.stats.LastDirect
	if x.Rate == 0 && x.End < x.until {
		c.sendEcho(i, c.clock.Now())
	}
}
