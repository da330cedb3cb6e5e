package broadcast

import (
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
)

const measuredUsers = 15000

// memory returns the bytes on the heap after a collection, and the resident memory
// of the process in bytes (man 5 proc_pid_statm).
func memory(t *testing.T) (heap, rss int) {
	t.Helper()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(b))[1])
	if err != nil {
		t.Fatal(err)
	}
	return int(m.HeapAlloc), pages * os.Getpagesize()
}

// The figures of docs/adr/0019-routing-by-homes.md. 15,000 users are in nearly all user
// buckets; a subscription for each bucket would cost more than a fifth of the memory a
// session may use.
func TestMemoryOfUsers(t *testing.T) {
	n := open(t, Options{})
	uids := make([][]byte, measuredUsers)
	for i := range uids {
		uids[i] = []byte("user-" + strconv.Itoa(1e10+i))
	}
	tokens := &waiterCount{}
	heap0, rss0 := memory(t)
	start, waits := time.Now(), 0
	for i, uid := range uids {
		if !n.JoinUser(uid, tokens, uint64(i)) {
			waits++
		}
	}
	eventually(t, "all ready", func() bool { return tokens.n.Load() == int64(waits) })
	took := time.Since(start)
	heap1, rss1 := memory(t)
	runtime.KeepAlive(uids)
	each := float64(heap1-heap0) / measuredUsers
	st := n.Stats()
	t.Logf("%d users in %d buckets, %d subscriptions: heap +%d B (%.1f B each), resident +%d B (%.1f B each), ready after %v, %d waited",
		measuredUsers, st.Buckets, st.Subscriptions, heap1-heap0, each, rss1-rss0, float64(rss1-rss0)/measuredUsers, took, waits)
	if each > 16 || st.Subscriptions != fixedSubscriptions {
		t.Errorf("%.1f bytes of heap each, limit 16; %d subscriptions", each, st.Subscriptions)
	}
}
