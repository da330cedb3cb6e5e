package poller

import (
	"os"
	"runtime"
	"testing"
)

// TestMain gives the tests the processors that a server takes: a shard that
// has work never waits for anything, and leaves nobody else one of its own.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(max(runtime.NumCPU(), Processors(4)))
	os.Exit(m.Run())
}
