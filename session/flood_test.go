package session

import (
	"fmt"
	"io"
	"strconv"
	"syscall"
	"testing"
	"time"

	"belfry/message"
	"belfry/poller"
)

// spareDescriptors are left to this process for what is no half-open connection.
const spareDescriptors = 1500

// Ten thousand connections send half a request and no more. Meanwhile clients
// connect and get their pushes, and when its time is over each of the ten
// thousand is told so.
func TestHalfOpen(t *testing.T) {
	n := floodSize(t)
	r := newRig(t, Options{UpgradeTime: 4 * time.Second, MaxPending: 1 << 16})
	first := r.dial("/ws?uid=first&topic=t")
	c := startChild(t, "half-open")
	c.say("%s %d", r.Addrs()[0], n)

	served := 0
	var opened int
	open := make(chan error, 1)
	go func() { open <- c.listen("open %d", &opened) }()
	var clients []*client
	serve := func() {
		uid := fmt.Sprint("user-", served)
		cl := r.dial("/ws?uid=" + uid)
		r.deliver(message.ToUsers(uid), uid)
		cl.want(uid)
		r.deliver(message.ToTopics("t"), uid)
		first.want(uid)
		if served++; served%20 == 0 {
			clients = append(clients, cl)
		} else {
			cl.Close()
		}
	}
	for waiting := true; waiting; serve() {
		select {
		case err := <-open:
			if waiting = false; err != nil || opened != n {
				t.Fatal(opened, err)
			}
		default:
		}
	}
	eventually(t, "all accepted", func() bool { return r.pending.Load() == int64(n) })
	for range 40 {
		serve()
	}
	c.say("count")
	for range 4 {
		r.tick(1)
	}
	var told, of int
	c.hear("timeouts %d of %d", &told, &of)
	if told != n || of != n {
		t.Errorf("%d of %d were told, want %d", told, of, n)
	}
	serve()
	eventually(t, "flood over", func() bool { return r.Stats().Closed["handshake_timeout"] == uint64(n) && r.pending.Load() == 0 })
	eventually(t, "served ones gone", func() bool { return r.Stats().Sessions == int64(len(clients)+1) })
	r.deliver(message.ToAll(), "end")
	for _, cl := range append(clients, first) {
		cl.want("end")
	}
	t.Logf("%d clients served beside %d half-open connections", served, n)
}

// floodSize returns how many half-open connections this machine can hold in a test.
func floodSize(t *testing.T) int {
	n := 10000
	if testing.Short() || raceDetector {
		n = 4000
	}
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if most := int(limit.Cur) - spareDescriptors; most < n {
		t.Logf("%d half-open connections because of RLIMIT_NOFILE instead of %d", most, n)
		n = most
	}
	return n
}

// However many are let in at once, and whichever shards their users have, as
// many sessions as there may be are admitted and not one more.
func TestSessionLimitInStorm(t *testing.T) {
	const most, come = 10, 80
	for _, shards := range []int{1, 3} {
		auth := make(lateAuth, come)
		r := newRig(t, Options{MaxSessions: most, Authenticator: auth, Poller: poller.Options{Shards: shards}})
		var all []*rawConn
		for range come {
			w, err := r.connect()
			if err != nil {
				t.Fatal(err)
			}
			defer w.Close()
			w.Write(request("/ws", ""))
			all = append(all, w)
		}
		eventually(t, "all wait", func() bool { return len(auth) == come })
		for i := range come {
			later := <-auth
			go later(Grant{UID: "u" + strconv.Itoa(i)}, nil)
		}
		statuses := map[int]int{}
		for _, w := range all {
			status, err := w.answer()
			if err != nil {
				t.Fatal(err)
			}
			statuses[status]++
		}
		if statuses[101] != most || statuses[503] != come-most {
			t.Errorf("%v", statuses)
		}
		eventually(t, "sessions", func() bool { return r.sessions.Load() == most })
		if n := r.Stats().Limits["max_connections"]; n != come-most {
			t.Errorf("limit hit %d times", n)
		}
	}
}

// Refused connections that do not go away take places until they are cut off;
// beyond these places no connection is kept, and in the end all places are free.
func TestRefusedDoNotPileUp(t *testing.T) {
	r := newRig(t, Options{MaxSessions: 2, MaxPending: 3})
	for i := range 2 {
		r.mustWire(fmt.Sprint("/ws?uid=u", i), "")
	}
	for range 50 {
		w, _ := r.connect()
		defer w.Close()
		w.Write(request("/ws?uid=late", ""))
		w.answer() // a 503, or nothing at all
	}
	eventually(t, "at most 5 connections", func() bool { return r.loop.Stats().Connections <= 5 })
	for range halfCloseTime {
		r.tick(1)
	}
	eventually(t, "cut off", func() bool { return r.loop.Stats().Connections == 2 })
	if n := r.pending.Load(); n != 0 {
		t.Errorf("%d pending", n)
	}
	w, _ := r.connect()
	defer w.Close()
	io.WriteString(w, "GET /ws ")
	eventually(t, "pending", func() bool { return r.pending.Load() == 1 })
}
