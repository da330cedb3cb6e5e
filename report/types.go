package report

import (
	"encoding/json"
	"fmt"

	"belfry/broadcast"
	"belfry/message"
)

// Counts are sessions by what became of a message for them.
type Counts struct {
	Sessions int64   `json:"sessions"` // all of them
	Written  int64   `json:"written"`  // the kernel took the message
	Queued   int64   `json:"queued"`   // it waits behind a slow reader
	Bridged  int64   `json:"bridged"`  // what stands between belfry and the client (TLS) took it
	Dropped  Dropped `json:"dropped"`
	Ack      *Ack    `json:"ack,omitempty"` // of a push that asks for acknowledgements
}

// Dropped are sessions that do not get a message, by cause.
type Dropped struct {
	Backlog int64 `json:"backlog"` // the backlog is full: the policy dropped the message or ends the session
	Closed  int64 `json:"closed"`  // the connection was ending
}

// Ack are the acknowledgements of a message.
type Ack struct {
	Asked             int64 `json:"asked"`             // sessions that can acknowledge it
	Acknowledged      int64 `json:"acknowledged"`      // those that have
	Unacknowledgeable int64 `json:"unacknowledgeable"` // those that cannot: what they speak has no acknowledgements
}

func (c *Counts) add(o *Counts) {
	c.Sessions += o.Sessions
	c.Written += o.Written
	c.Queued += o.Queued
	c.Bridged += o.Bridged
	c.Dropped.Backlog += o.Dropped.Backlog
	c.Dropped.Closed += o.Dropped.Closed
	if o.Ack != nil {
		if c.Ack == nil {
			c.Ack = new(Ack)
		}
		c.Ack.Asked += o.Ack.Asked
		c.Ack.Acknowledged += o.Ack.Acknowledged
		c.Ack.Unacknowledgeable += o.Ack.Unacknowledgeable
	}
}

// countsOf reads a report.
func countsOf(r *message.Report) Counts {
	c := Counts{
		Written: r.Count(message.OutcomeWritten), Queued: r.Count(message.OutcomeQueued), Bridged: r.Count(message.OutcomeBridged),
		Dropped: Dropped{r.Count(message.OutcomeBacklog), r.Count(message.OutcomeClosed)},
	}
	c.Sessions = c.Written + c.Queued + c.Bridged + c.Dropped.Backlog + c.Dropped.Closed
	if r.Ack {
		asked, acked := r.Acks()
		c.Ack = &Ack{Asked: asked, Acknowledged: acked, Unacknowledgeable: max(c.Sessions-asked, 0)}
	}
	return c
}

// acknowledged says whether every session that was asked has acknowledged.
func (c *Counts) acknowledged() bool { return c.Ack == nil || c.Ack.Acknowledged >= c.Ack.Asked }

// Node is what one node reports.
type Node struct {
	Node string `json:"node"` // its name
	Counts
}

// Silent is a node that did not report.
type Silent struct {
	Node   string `json:"node"`
	Detail string `json:"detail"` // why
}

// Result is what became of a push.
type Result struct {
	ID string `json:"id"` // of the message
	Counts
	Offline  bool     `json:"offline"`  // every node has reported, and no session was there
	Complete bool     `json:"complete"` // every node has reported
	Nodes    []Node   `json:"nodes"`    // those that have reported, by name
	Silent   []Silent `json:"silent,omitempty"`
	Degraded []string `json:"degraded,omitempty"` // why there may be nodes that this one does not know of
}

// kindResult is the kind of the command with which a node tells the node of a message
// what became of it; docs/bus.md describes it.
const kindResult = "report.result"

// answer is the body of the command.
type answer struct {
	ID   string `json:"id"`
	Lost bool   `json:"lost,omitempty"` // the message did not get to the sessions of the node
	Counts
}

func (a *answer) encode() []byte {
	body, err := json.Marshal(a)
	if err != nil {
		panic("report: " + err.Error()) // the type has only values that JSON has
	}
	return body
}

func decode(body []byte) (*answer, error) {
	a := new(answer)
	if err := json.Unmarshal(body, a); err != nil {
		return nil, fmt.Errorf("malformed report: %w", err)
	}
	return a, nil
}

// Bus is what a Reporter needs of broadcast.Node.
type Bus interface {
	Publisher
	NewID() string
	SetReporter(broadcast.Reporter)
}
