package main

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"belfry/broadcast"
	"belfry/message"
	"belfry/wire"
)

// noSessions stands for the sessions of a node that has none.
type noSessions struct{}

func (noSessions) Prepare(*message.Message) (broadcast.Prepared, error) { return noSessions{}, nil }
func (noSessions) Await(context.Context, message.Wait) (bool, error)    { return false, nil }
func (noSessions) Leave()                                               {}
func (noSessions) Deliver() error                                       { return nil }

// Messages published by clients leave most of the outbox to backends.
func TestClientsLeaveOutbox(t *testing.T) {
	bus, err := broadcast.Open(broadcast.Options{NodeName: "a", URLs: []string{"nats://127.0.0.1:1"},
		NodeOf: func(string) (uint32, error) { return 0, nil }, OutboxMessages: 400})
	if err != nil {
		t.Fatal(err)
	}
	defer bus.Close()
	bus.Start(noSessions{})
	n := &belfry{bus: bus}
	var none message.Wait
	message := func(i int) *message.Message {
		return &message.Message{Target: message.ToUsers(fmt.Sprint("u", i)), Payload: []byte("x")}
	}
	taken := 0
	for ; err == nil && taken < 400; taken++ {
		err = n.publish(message(taken), none)
	}
	var told *wire.CommandError
	if taken < 100 || taken > 102 || !errors.As(err, &told) || told.Code != "unavailable" {
		t.Errorf("the pub after %d of 400 places: %v", taken-1, err)
	}
	for i := range 200 {
		if err := bus.Publish(message(i)); err != nil {
			t.Fatalf("push %d of a backend: %v", i, err)
		}
	}
}
