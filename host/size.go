package host

import (
	"fmt"
	"strconv"
)

// What a connection costs this end of it.
const (
	// KernelBytes is the kernel's memory: socket, file, epoll entry. Measured:
	// about 4.2 KB.
	KernelBytes = 4300
	// UserBytes is belfry's: the budget of an idle session.
	UserBytes = 256
)

// MaxConnections is the most that belfry can be set to hold in one process.
const MaxConnections = 1 << 24

// DefaultReserve is the descriptors for everything but connections: files, the
// API's and NATS's connections, listeners, and upgrades under way.
const DefaultReserve = 32768

// What is kept from connections: 5 % of memory, and this for the system, or for
// belfry itself where only it is in the control group.
const (
	systemBytes = 256 << 20
	belfryBytes = 128 << 20
	// processBytes of the latter is a node without a session and with nothing
	// that waits: about 35 MB, and its garbage.
	processBytes = 48 << 20
)

// held returns how many connections a memory holds.
func held(memory, kept int64) int64 {
	return max(0, memory-memory/20-kept) / (KernelBytes + UserBytes)
}

// needed returns the memory that connections need: the inverse of held.
func needed(connections, kept int64) int64 {
	return (connections*(KernelBytes+UserBytes) + kept) / 19 * 20
}

// The values that scripts/tune.sh sets for a number of connections. A test
// holds the two together.
func wantDescriptors(n int64) int64 { return n + DefaultReserve }
func wantNrOpen(n int64) int64      { return max(1<<20, wantDescriptors(n)) }
func wantFileMax(n int64) int64     { return n*5/4 + 1<<18 }
func wantWatches(n int64) int64     { return n * 2 }
func wantTracked(n int64) int64     { return n*5/4 + 1<<16 }

const wantQueue = 65535

// mostPages is the most that TCP is to have: half of memory.
func mostPages(f *Facts) int64 { return f.MemoryTotal / 2 / f.PageSize }

// wantPages returns tcp_mem: never less than it is.
func wantPages(f *Facts, n int64) (pages [3]int64) {
	most := min(n*2, mostPages(f))
	for i, want := range []int64{most / 2, most * 3 / 4, most} {
		pages[i] = max(want, f.TCPMemory[i])
	}
	return pages
}

// setting is the command that sets a sysctl.
func setting(name string, values ...int64) string {
	text := strconv.FormatInt(values[0], 10)
	for _, v := range values[1:] {
		text += " " + strconv.FormatInt(v, 10)
	}
	if len(values) > 1 {
		text = `"` + text + `"`
	}
	return "sysctl -w " + name + "=" + text
}

// Thousands writes a number with a comma between groups of three digits.
func Thousands(n int64) string {
	if n >= noLimit {
		return "unlimited"
	}
	text := strconv.FormatInt(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// size writes a number of bytes.
func size(n int64) string {
	switch {
	case n >= noLimit:
		return "unlimited"
	case n >= 1<<30:
		return fmt.Sprintf("%.1f GiB", float64(n)/(1<<30))
	default:
		return fmt.Sprintf("%d MiB", n>>20)
	}
}

// mebibytes rounds up, in the notation of systemd and Docker.
func mebibytes(n int64) string { return strconv.FormatInt((n+1<<20-1)>>20, 10) + "M" }
