package conformance_test

import (
	"os"
	"runtime"
	"testing"

	"belfry/poller"
)

func TestMain(m *testing.M) {
	runtime.GOMAXPROCS(poller.Processors(2))
	os.Exit(m.Run())
}
