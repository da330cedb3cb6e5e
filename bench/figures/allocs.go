package figures

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// allocations is the number of allocations of one operation by `go test
// -benchmem`: the largest of all benchmarks with the same beginning of the
// name; -1 if there was none.
type allocations struct {
	Delivery float64  `json:"delivery"`
	Inbound  float64  `json:"inbound"`
	Deflated float64  `json:"inbound_deflated"`
	Lines    []string `json:"lines"` // as go test printed them
}

// measureAllocs runs the benchmarks of the server's packages from the
// repository's root, which is the working directory.
func measureAllocs(ctx context.Context) (allocations, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "Deliver|Inbound", "-benchmem", "-benchtime", "1s", "./session", "./poller")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM, Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return allocations{}, fmt.Errorf("go test: %w: %s", errors.Join(err, ctx.Err()), lastLines(out.String(), 5))
	}
	return parseAllocs(out.String()), nil
}

var benchmarkLine = regexp.MustCompile(`^Benchmark(\S+)\s.*\s(\d+) allocs/op`)

func parseAllocs(out string) allocations {
	a := allocations{Delivery: -1, Inbound: -1, Deflated: -1}
	for line := range strings.Lines(out) {
		m := benchmarkLine.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		n, err := strconv.ParseFloat(m[2], 64)
		if err != nil {
			continue
		}
		switch {
		case strings.HasPrefix(m[1], "Deliver"):
			a.Delivery = max(a.Delivery, n)
		case strings.HasPrefix(m[1], "InboundDeflated"):
			a.Deflated = max(a.Deflated, n)
		case strings.HasPrefix(m[1], "Inbound"):
			a.Inbound = max(a.Inbound, n)
		default:
			continue
		}
		a.Lines = append(a.Lines, strings.Join(strings.Fields(line), " "))
	}
	return a
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "; ")
}
