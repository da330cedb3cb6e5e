package host

import (
	"fmt"
	"strconv"
)

// Memory of one connection on this host, in bytes.
const (
	// KernelBytes is the kernel's memory for socket, file and epoll entry.
	// Measured: about 4.2 KB.
	KernelBytes = 4300
	// UserBytes is belfry's memory: the budget of an idle session.
	UserBytes = 256
)

// A TLS connection of a client takes the client's socket, and the two ends of a
// pair of sockets between it and a shard; docs/benchmarks.md has the measurement of
// its memory. KernelBytes and UserBytes come on top.
const (
	TLSDescriptors = 3
	TLSBytes       = 24 << 10
)

// MaxConnections is the largest max_connections of a process.
const MaxConnections = 1 << 24

// DefaultReserve is the number of descriptors for everything except client
// connections: files, connections of the API and NATS, listeners, and upgrades
// in progress.
const DefaultReserve = 32768

// Memory that is not for connections: 5 %, and these bytes for the system, or
// for belfry itself if the control group has only belfry.
const (
	systemBytes = 256 << 20
	belfryBytes = 128 << 20
	// processBytes of it are for a node without sessions and with empty queues:
	// about 35 MB, and its garbage.
	processBytes = 48 << 20
)

// held returns how many connections fit into memory.
func held(memory, kept int64) int64 {
	return max(0, memory-memory/20-kept) / (KernelBytes + UserBytes)
}

// needed returns the bytes of memory that connections need. It is the inverse
// of held.
func needed(connections, kept int64) int64 {
	return (connections*(KernelBytes+UserBytes) + kept) / 19 * 20
}

// The values that scripts/tune.sh sets for a number of connections. A test
// compares the two.
func wantDescriptors(n int64) int64 { return n + DefaultReserve }
func wantNrOpen(n int64) int64      { return max(1<<20, wantDescriptors(n)) }
func wantFileMax(n int64) int64     { return n*5/4 + 1<<18 }
func wantWatches(n int64) int64     { return n * 2 }
func wantTracked(n int64) int64     { return n*5/4 + 1<<16 }

const wantQueue = 65535

// mostPages is the most memory for TCP, in pages: half of all memory.
func mostPages(f *Facts) int64 { return f.MemoryTotal / 2 / f.PageSize }

// wantPages returns the wanted tcp_mem, never less than the present one.
func wantPages(f *Facts, n int64) (pages [3]int64) {
	most := min(n*2, mostPages(f))
	for i, want := range []int64{most / 2, most * 3 / 4, most} {
		pages[i] = max(want, f.TCPMemory[i])
	}
	return pages
}

// setting returns the command that sets a sysctl.
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
