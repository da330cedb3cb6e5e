package session

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/gorilla/websocket"
)

// All memory of the sessions outside the Go heap has an owner, which counts
// what the sessions need and nothing where there is none.
func TestMemoryByOwner(t *testing.T) {
	r := newRig(t, Options{MaxPerAddress: 1000, Events: new(recorder), Rates: Rates{Messages: 100, MessageBurst: 100}, Authenticator: generous{}})
	memory := r.opt.Poller.Memory
	for owner, n := range memory.Bytes() {
		if n != 0 {
			t.Errorf("%s has %d bytes before the first connection", owner, n)
		}
	}
	var last *client
	for i := range 20 {
		last = r.dial(fmt.Sprintf("/ws?uid=user-%d&topic=news", i))
	}
	// A message takes tokens, and a fragment of 64 KiB that is not the last
	// keeps a buffer.
	if err := last.WriteMessage(websocket.TextMessage, []byte("hi")); err != nil {
		t.Fatal(err)
	}
	begun := append([]byte{0x01, 0xff, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, strings.Repeat("x", 1<<16)...)
	if _, err := last.NetConn().Write(begun); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a buffer", func() bool { return memory.Bytes()["messages"] >= 1<<16 })
	want := []string{"address_limits", "connections", "events", "grants", "half_open", "messages", "rates", "remotes", "subscriptions", "topics", "users"}
	got := memory.Bytes()
	delete(got, "io_uring") // where the kernel has it
	if names := slices.Sorted(maps.Keys(got)); !slices.Equal(names, want) {
		t.Errorf("the owners are %q, want %q", names, want)
	}
	delete(got, "half_open") // requests that are not complete after the first read
	for owner, n := range got {
		if n < 4096 {
			t.Errorf("%s has %d bytes", owner, n)
		}
	}
}
