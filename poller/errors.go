package poller

import "errors"

var (
	// ErrClosed is returned by what needs a running loop.
	ErrClosed = errors.New("poller: loop is closed")
	// ErrMailboxFull is returned when a shard's mailbox refuses.
	ErrMailboxFull = errors.New("poller: mailbox is full")

	errUnread  = errors.New("poller: the handler left too many bytes unread")
	errInbound = errors.New("poller: the node's bound on inbound bytes is reached")
)
