package session

import (
	"bytes"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"belfry/ws"
)

// later is an Authenticator that is not Open, and answers at once.
type later struct{ Open }

func (a *later) Authenticate(at *Attempt, _ func(Grant, *ws.Refusal)) (Grant, *ws.Refusal, bool) {
	return a.Open.Authenticate(at, nil)
}

// An upgrade allocates the names of its user and topic, and the list of topics. What
// only some servers use (credentials, permissions, limits, events) costs the others
// nothing. An authenticator that may need time costs what it calls when it has decided.
func TestUpgradeAllocations(t *testing.T) {
	for _, c := range []struct {
		name, path    string
		authenticator Authenticator
		allocs        uint64
	}{
		{"nobody", "/ws", &Open{}, 0},
		{"user and topic", "/ws?uid=u&topic=t", nil, 3},
		{"another authenticator", "/ws", &later{}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, Options{Poller: onePoller(), Authenticator: c.authenticator})
			if n := r.upgradeAllocations(t, request(c.path, "")); n > c.allocs && !raceDetector {
				t.Errorf("%d allocations; want at most %d", n, c.allocs)
			}
		})
	}
}

// upgradeAllocations returns how many allocations a session costs from connect to its
// end, the average of many. The client is a bare descriptor and allocates nothing.
func (r *rig) upgradeAllocations(t *testing.T, request []byte) uint64 {
	at := r.Addrs()[0]
	to := &unix.SockaddrInet4{Port: int(at.Port()), Addr: at.Addr().As4()}
	answer := make([]byte, 1<<10)
	connect := func() {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		defer unix.Close(fd)
		if err := unix.Connect(fd, to); err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fd, request); err != nil {
			t.Fatal(err)
		}
		if n, err := unix.Read(fd, answer); err != nil || !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 101 ")) {
			t.Fatalf("%q, %v", answer[:n], err)
		}
	}
	const runs = 500
	for range runs { // what is kept for the next is made
		connect()
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range runs {
		connect()
	}
	runtime.ReadMemStats(&after)
	return (after.Mallocs - before.Mallocs) / runs
}
