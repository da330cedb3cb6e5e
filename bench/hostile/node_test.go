package hostile

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"

	"belfry/bench"
)

func TestParseMetrics(t *testing.T) {
	before := parseMetrics([]byte("# HELP x y\nbelfry_sessions 3\nbelfry_limits_hit_total{limit=\"backlog\"} 2\nbelfry_limits_hit_total{limit=\"same\"} 1\n"))
	after := parseMetrics([]byte("belfry_sessions 4e+03\nbelfry_limits_hit_total{limit=\"backlog\"} 10\nbelfry_limits_hit_total{limit=\"same\"} 1\n" +
		"belfry_limits_hit_total{limit=\"new\"} 1\nother_total{limit=\"x\"} 5\nh_bucket{le=\"1\"} 7\nnonsense\nbad value\n"))
	if before["belfry_sessions"] != 3 || after["belfry_sessions"] != 4000 {
		t.Errorf("%v, %v", before, after)
	}
	if _, ok := after[`h_bucket{le="1"}`]; ok {
		t.Error("buckets are kept")
	}
	if got, want := after.moved(before, "belfry_limits_hit_total"), map[string]int{"backlog": 8, "new": 1}; !maps.Equal(got, want) {
		t.Errorf("moved: %v", got)
	}
}

func TestSettings(t *testing.T) {
	paths := parseSettings("# a comment: not a key\ndev: false\nsession:\n  # doc: x\n  max_message: 64KiB\n  list:\n    - a: b\nnats:\n  tls:\n    ca: \"\"\n  url: []\n")
	want := []string{"dev", "session", "session.max_message", "session.list", "nats", "nats.tls", "nats.tls.ca", "nats.url"}
	if !slices.Equal(paths, want) {
		t.Errorf("%v", paths)
	}
	has, lacks := known([]string{"session.max_message=1", "session.rate_grace=1s", "nats.tls.ca=x=y"}, paths)
	if !slices.Equal(has, []string{"session.max_message=1", "nats.tls.ca=x=y"}) || !slices.Equal(lacks, []string{"session.rate_grace=1s"}) {
		t.Errorf("%v, %v", has, lacks)
	}
}

func TestReadRSS(t *testing.T) {
	got, err := parseRSS("VmPeak:\t 9 kB\nVmRSS:\t   123 kB\nVmSwap: 1 kB\n")
	if err != nil || got != 123<<10 {
		t.Errorf("%d, %v", got, err)
	}
	if _, err := parseRSS("VmPeak: 9 kB\n"); err == nil {
		t.Error("no VmRSS is no error")
	}
	if got, err := readRSS(os.Getpid()); err != nil || got < 1<<20 {
		t.Errorf("of this process: %d, %v", got, err)
	}
}

// The same failure at different addresses has the same name.
func TestCause(t *testing.T) {
	refused := &net.OpError{Op: "dial", Net: "tcp", Addr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)}
	for want, err := range map[string]error{
		"status 503":   fmt.Errorf("connecting: %w", &bench.StatusError{Code: 503}),
		"timeout":      &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded},
		"ECONNREFUSED": refused,
		"close 1001":   errors.New("close 1001"),
	} {
		if got := cause(err); got != want {
			t.Errorf("%v: %q, not %q", err, got, want)
		}
	}
	if got := cause(context.DeadlineExceeded); got != "timeout" {
		t.Errorf("a deadline is %q", got)
	}
}
