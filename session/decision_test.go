package session

import (
	"testing"
)

// A decision is used again by the next connection of its shard. An authenticator that
// answers once too often does not decide about that one.
func TestDecisionIsUsedAgain(t *testing.T) {
	auth := make(lateAuth, 16)
	r := newRig(t, Options{Poller: onePoller(), Authenticator: auth})
	first, _ := r.connect()
	first.Write(pipelined())
	stale := <-auth
	stale(Grant{UID: "ann"}, nil)
	first.wantPipelined(t, "ann")

	second, _ := r.connect()
	second.Write(pipelined())
	later := <-auth
	var spare int
	r.on(0, func(h *shard) { spare = len(h.upgrader.spare) })
	if spare != 0 {
		t.Fatalf("%d decisions are kept: the second connection has one of its own", spare)
	}
	stale(Grant{UID: "mallory"}, nil)
	eventually(t, "waiting", func() bool { return r.waiting.Load() == 1 })
	if held := r.waitingBytes.Load(); held == 0 {
		t.Error("the bytes of the second request are not counted any more")
	}
	later(Grant{UID: "bob"}, nil)
	second.wantPipelined(t, "bob")
	if held := r.waitingBytes.Load(); held != 0 {
		t.Errorf("%d bytes are counted", held)
	}
}
