package message

import (
	"errors"
	"fmt"
	"time"
)

// OverloadedError refuses a message. No session received it, so it can be
// published again after RetryAfter without causing duplicates.
type OverloadedError struct {
	What        string        // what is full ("outbox", "mailbox"), or "starting", "stopping"
	Queue       bool          // What is a queue in which too many publishers already wait
	Unavailable bool          // nothing is full; What says why messages cannot reach the other nodes
	RetryAfter  time.Duration // how long to wait before the next attempt
	Err         error         // error of the local sessions, nil if they did not refuse the message
}

func (e *OverloadedError) Error() string {
	s := "overloaded: " + e.What
	if e.Unavailable {
		s = "unavailable: " + e.What
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns Err.
func (e *OverloadedError) Unwrap() error { return e.Err }

// TooLargeError refuses a message above a limit of the bus. Size and Max are
// in bytes.
type TooLargeError struct {
	What string // "payload", or "payload with envelope" as NATS counts it
	Size int
	Max  int
}

func (e *TooLargeError) Error() string {
	return fmt.Sprintf("%s: %d bytes; allowed are at most %d", e.What, e.Size, e.Max)
}

// FaultError says that publishing one message panicked. The log has the stack.
type FaultError struct {
	Uncertain bool // some sessions may have received the message; if false, none has
}

func (e *FaultError) Error() string {
	if e.Uncertain {
		return "fault of belfry: some sessions may have got the message; the log has the stack"
	}
	return "fault of belfry: no session got the message; the log has the stack"
}

// FieldError reports invalid input: which field is wrong, and what is allowed.
type FieldError struct {
	Field  string // its name in the input: "topic", "uid", "exclude", …
	Detail string // what is wrong and what is allowed
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Detail }

// Renamed returns a *FieldError with another name for the field, for input
// that uses this name. It returns other errors unchanged.
func Renamed(err error, field string) error {
	fe, ok := errors.AsType[*FieldError](err)
	if !ok {
		return err
	}
	return &FieldError{field, fe.Detail}
}
