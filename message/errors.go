package message

import (
	"errors"
	"fmt"
	"time"
)

// OverloadedError refuses a message that nobody has received. To try again
// after RetryAfter doubles nothing.
type OverloadedError struct {
	What        string        // what is full ("outbox", "mailbox"), or "starting", "stopping"
	Queue       bool          // What is a queue: too many publishers wait already
	Unavailable bool          // nothing is full: What says why messages cannot reach the other nodes
	RetryAfter  time.Duration // when to try again
	Err         error         // what the local server said, if it refused
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

// Unwrap returns the local server's error, if any.
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

// FaultError says that publishing one message panicked; the log has its stack.
type FaultError struct {
	Uncertain bool // some sessions may have got the message; else none has
}

func (e *FaultError) Error() string {
	if e.Uncertain {
		return "fault of belfry: some receivers may have got the message; the log has the stack"
	}
	return "fault of belfry: no session got the message; the log has the stack"
}

// FieldError is bad input: the field that is wrong and what it may be.
type FieldError struct {
	Field  string // as the caller spelt it: "topic", "uid", "exclude", …
	Detail string // what is wrong and what is allowed
}

func (e *FieldError) Error() string { return e.Field + ": " + e.Detail }

// Renamed returns err with the field named as its reader knows it, if it is a
// *FieldError.
func Renamed(err error, field string) error {
	if err == nil {
		return nil
	}
	var fe *FieldError
	if !errors.As(err, &fe) {
		return err
	}
	return &FieldError{field, fe.Detail}
}
