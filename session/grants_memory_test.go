package session

import (
	"fmt"
	"runtime"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"belfry/ws"
)

// generous grants everything that a token can say.
type generous struct{ plain bool }

func (a generous) Authenticate(at *Attempt, _ func(Grant, *ws.Refusal)) (Grant, *ws.Refusal, bool) {
	uid, _ := at.Request.Query("uid")
	topic, _ := at.Request.Query("topic")
	g := Grant{UID: string(uid), Topics: []string{string(topic)}}
	if !a.plain {
		g.Topics = append(g.Topics, "news", "weather")
		g.Subscribe, g.Publish = []string{"public.*", "inbox.{uid}"}, []string{"chat.*"}
		g.Meta = fmt.Appendf(nil, `{"name":%q,"n":"%041d"}`, "someone", 7)
		g.Issued, g.Expires = time.Now(), time.Now().Add(time.Hour)
	}
	return g, nil, false
}

// What a grant takes for an idle session: with 64 bytes of meta data, an expiry,
// permissions and three topics; and a session without them, which pays for none of it.
func TestGrantMemory(t *testing.T) {
	n := 4000
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	n = min(n, (int(limit.Cur)-spareDescriptors)/2)
	plain := grantMemory(t, n, generous{plain: true})
	full := grantMemory(t, n, generous{})
	t.Logf("bytes for each of %d idle sessions: %d with a user and a topic, %d with meta data, expiry, permissions and three topics", n, plain, full)
	// A session with a user and a topic took 150 before there were grants.
	if plain < 100 || plain > 166 || full > 400-kernelShare {
		t.Errorf("an idle session takes %d and %d bytes", plain, full)
	}
}

// kernelShare is what the runtime and the kernel add to the bytes of an idle session
// in RSS: pages that are not full.
const kernelShare = 16

func grantMemory(t *testing.T, n int, a Authenticator) (each int64) {
	t.Run(fmt.Sprintf("%+v", a), func(t *testing.T) {
		r := newRig(t, Options{Poller: onePoller(), Authenticator: a})
		used := func() (sum int64) {
			for range 3 {
				runtime.GC()
			}
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			sum = int64(m.HeapAlloc)
			for _, b := range r.opt.Poller.Memory.Bytes() {
				sum += b
			}
			return sum
		}
		fields := "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n"
		first := r.idle(t, "/ws", fields, 0)
		clients := make([]int, n)
		before := used()
		for i := range clients {
			clients[i] = r.idle(t, "/ws", fields, i+1)
		}
		each = (used() - before) / int64(n)
		runtime.KeepAlive(clients)
		r.on(0, func(h *shard) {
			if lists := h.grants.lists.Len(); lists > 1 {
				t.Errorf("%d lists of permissions for equal ones", lists)
			}
		})
		for _, fd := range append(clients, first) {
			unix.Close(fd)
		}
		eventually(t, "all gone", func() bool { return r.Stats().Sessions == 0 })
		r.on(0, func(h *shard) {
			g := &h.grants
			if n := g.all.Len() + g.lists.Len() + g.limits.Len() + g.blobs.strs.Len() + g.table.Len(); n != 0 {
				t.Errorf("%d records of grants are left", n)
			}
		})
	})
	return each
}
