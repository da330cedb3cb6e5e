package broadcast

import (
	"sync"
	"testing"

	"github.com/nats-io/nats.go"
)

// What the NATS server in the process of a home has is lost with the process. So such a
// home confirms relays when the holders have the copies, and not before.
func TestHomeConfirmsWhatHoldersHave(t *testing.T) {
	n, r := routedMembers(t, Options{Embedded: Embedded{ClusterListen: "127.0.0.1:0"}})
	for _, m := range n {
		m.sees(t, m.nats.relaySubject, 1)
		m.sees(t, subjectUsers, 3)
	}
	r.route(n[1], n[2])
	pushes(t, n[0], 10, n[1], n[2])
	eventually(t, "confirmed", func() bool { return n[0].Stats().Routes.Confirmed == 10 })

	n[2].recorder.mu.Lock() // the holder takes one more message, and no further one
	release := sync.OnceFunc(n[2].recorder.mu.Unlock)
	defer release()
	go pushes(t, n[0], 10, n[1])
	eventually(t, "all at the home", func() bool { return len(n[1].payloads("bob")) == 20 })
	eventually(t, "the publishing node sends them again", func() bool { return n[0].Stats().Routes.Fallbacks["timeout"] == 1 })
	if got := n[0].Stats().Routes.Confirmed; got != 10 {
		t.Errorf("%d confirmed while the holder has not got them", got)
	}
	release()
	eventually(t, "all at the holder", func() bool { return len(n[2].payloads("bob")) == 20 })
	pushes(t, n[0], 1, n...)
}

// Questions of homes that are malformed are counted.
func TestForeignSync(t *testing.T) {
	n, _ := routedMembers(t, Options{})
	nc := client(t, n[0].opt.URLs[0])
	before := n[0].Stats().Malformed
	bad := []map[string][]string{
		{headerRelay: {"sync 1"}},
		{headerRelay: {"sync 1"}, headerNode: {"1"}},
		{headerRelay: {"sync 0"}, headerNode: {"00000001"}},
		{headerRelay: {"open"}, headerNode: {"00000001"}},
		{headerRelay: {"sync 1", "sync 2"}, headerNode: {"00000001"}},
	}
	for _, h := range bad {
		send(t, nc, &nats.Msg{Subject: n[0].nats.self, Header: h})
	}
	eventually(t, "all refused", func() bool { return n[0].Stats().Malformed == before+uint64(len(bad)) })
}
