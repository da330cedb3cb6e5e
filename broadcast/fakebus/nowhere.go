package fakebus

import (
	"context"

	"belfry/broadcast"
	"belfry/message"
)

// Nowhere is a broadcast.Local without sessions: it takes every message.
type Nowhere struct{}

func (Nowhere) Prepare(*message.Message) (broadcast.Prepared, error) { return Nowhere{}, nil }
func (Nowhere) Await(context.Context, message.Wait) (bool, error)    { return false, nil }
func (Nowhere) Leave()                                               {}
func (Nowhere) Deliver() error                                       { return nil }
