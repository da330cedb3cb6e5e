package poller

import "errors"

var (
	// ErrClosed is returned when a loop or shard that must run is closed.
	ErrClosed = errors.New("poller: loop is closed")
	// ErrMailboxFull is returned when a queue of a shard's mailbox is full.
	ErrMailboxFull = errors.New("poller: mailbox is full")

	errUnread  = errors.New("poller: the handler left too many bytes unread")
	errInbound = errors.New("poller: the node's limit of inbound bytes is reached")
)
