//go:build e2e

package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// asMain makes the test binary be the program, and also its child processes.
const asMain = "BELFRY_BENCH_TEST_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// server is the belfry that BELFRY_BIN names, by default the one that make
// build makes.
func server(t *testing.T) string {
	t.Helper()
	bin := os.Getenv("BELFRY_BIN")
	if bin == "" {
		bin = "../../bin/belfry"
	}
	bin, err := filepath.Abs(bin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(bin); err != nil {
		t.Fatalf("%v; run make build first, or set BELFRY_BIN", err)
	}
	return bin
}

// program returns a command line of this program.
func program(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, args...)
	cmd.Env = append(os.Environ(), asMain+"=1", "GORACE=atexit_sleep_ms=0")
	return cmd
}

// children returns the processes whose parent is pid.
func children(t *testing.T, pid int) (pids []int) {
	t.Helper()
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range stats {
		if p, _, parent := stat(name); parent == pid {
			pids = append(pids, p)
		}
	}
	return pids
}

// stat reads the process's number, state and parent; 0 if it is gone.
func stat(name string) (pid int, state string, parent int) {
	p, err := os.ReadFile(name)
	if err != nil {
		return 0, "", 0
	}
	number, _, _ := strings.Cut(string(p), " ")
	pid, _ = strconv.Atoi(number)
	// The name in brackets may contain anything (man 5 proc).
	fields := strings.Fields(string(p[bytes.LastIndexByte(p, ')')+1:]))
	parent, _ = strconv.Atoi(fields[1])
	return pid, fields[0], parent
}

// gone waits until all processes have ended. A zombie whose parent was killed
// does not count.
func gone(t *testing.T, pids []int) {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for _, pid := range pids {
		for {
			_, state, _ := stat(fmt.Sprintf("/proc/%d/stat", pid))
			if state == "" || state == "Z" || state == "X" {
				break
			}
			if time.Now().After(deadline) {
				t.Errorf("process %d is still there, in state %s", pid, state)
				_ = syscall.Kill(pid, syscall.SIGKILL)
				break
			}
			time.Sleep(10 * time.Millisecond) // before the next look
		}
	}
}
