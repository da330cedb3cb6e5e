package poller

import (
	"os"
	"runtime"
	"testing"
)

// TestMain gives the tests as many processors as a server has: a busy shard never
// gives up its own.
func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(max(runtime.NumCPU(), Processors(4)))
	os.Exit(m.Run())
}
