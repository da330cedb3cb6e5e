package session

import (
	"os"
	"runtime"
	"testing"

	"belfry/poller"
)

// TestMain gives the tests the processors that a server takes: a shard that
// has work never waits for anything, and leaves nobody else one of its own.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(max(runtime.NumCPU(), poller.Processors(4)))
	os.Exit(m.Run())
}
