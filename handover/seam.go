package handover

import (
	"context"
	"time"

	"belfry/message"
	"belfry/poller"
	"belfry/session"
)

// Batch and Outgoing are those of package session.
type (
	Batch    = session.Batch
	Outgoing = session.Outgoing
)

// Giver gives sessions away: a *session.Server, which has the docs. HandOver begins, and
// FinishHandOver waits until all have left that can; CommitHandOver or AbortHandOver ends
// it. The others pass on what the successor reports, from any goroutine: a batch that is
// served, connections that have ended, messages that were sent.
type Giver interface {
	HandOver(out Outgoing)
	Imported(shard int, batch uint64)
	Ended(shard int, ids []poller.ID)
	Sent(shard int, numbers []uint64)
	FinishHandOver(ctx context.Context) error
	CommitHandOver()
	// AbortHandOver calls returned once for each shard, from one goroutine, after no
	// shard forwards messages any more. When returned has returned, the successor uses
	// no socket of the shard.
	AbortHandOver(returned func(shard int) []*Batch, touched func(shard int, slot uint32) bool) session.Aborted
}

// Taker takes sessions over: a *session.Server, whose session.Heritage has the Successor
// as From.
type Taker interface {
	Import(b *Batch, done func(error)) // in order for each shard; b.FDs become its own
	ImportMessage(shard int, m *message.Message)
	SendBack(out Outgoing)
}

// Predecessor is the node of the old process.
type Predecessor interface {
	// Inherit returns what the successor opens with. Nothing changes. The descriptors
	// become the hand-over's: it closes them. Copies of a listener must be made with
	// SyscallConn, not with File().Fd(), which makes the listener block.
	Inherit() (*Inheritance, error)
	// Begin says that sessions begin to leave, and Resume that all of them are back: it
	// follows Begin, Overlap and Export if the hand-over does not succeed.
	Begin()
	Resume()
	// Overlap returns a token with which the successor joins the bus before the cut; "": it
	// need not, because it gets the bus as it is.
	Overlap() (token string, err error)
	// Export stops the node, after all sessions have left, and returns its state. The
	// descriptors become the hand-over's. After an error or an abort Resume follows.
	Export(ctx context.Context) (*Heritage, error)
	// Leave says that the successor, the process pid, serves.
	Leave(pid int)

	// What sessions in the successor need of the bus. JoinTopic calls ready once, from
	// any goroutine, when the topic's messages come to this node.
	JoinTopic(topic []byte, ready func())
	LeaveTopic(topic []byte)
	Publish(m *message.Message, wait time.Duration) error
}

// Node is the node of the successor.
type Node interface {
	// Overlap joins the bus beside the old process, with its token. What comes waits.
	Overlap(ctx context.Context, token string) error
	// Inherit takes over the state of the node at the cut. Its descriptors become the
	// node's.
	Inherit(h *Heritage) error
	// Serve begins to serve: the bus, new clients, the API, and the control socket, which
	// replaces that of the old process. The old process serves none of it any more.
	Serve() error
	// Alone does the same without a Heritage, because the old process has died.
	Alone() error
}
