//go:build !race

package broadcast

import (
	"testing"

	"github.com/nats-io/nats-server/v2/server/pse"
)

// The name of the file is a variable of another module. If that module renames it,
// this process reads the file again.
func TestProcessStatisticsAreOff(t *testing.T) {
	var cpu float64
	var rss, vss int64
	if pse.ProcUsage(&cpu, &rss, &vss) == nil {
		t.Error("the NATS server's package pse still reads its file: see pse.go")
	}
}
