//go:build e2e

package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// As PID 1 of a container a process cannot be replaced: there is no control socket, and
// SIGUSR2 says so and drains the node.
func TestE2EFirstProcess(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("needs root for a PID namespace")
	}
	n := startClusterNodeOn(t, &nodeHost{start: []string{"unshare", "--pid", "--fork", "--kill-child"}}, "first")
	parent := strconv.Itoa(n.cmd.Process.Pid)
	children, err := os.ReadFile(filepath.Join("/proc", parent, "task", parent, "children"))
	if err != nil {
		t.Fatal(err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(children)))
	if err != nil {
		t.Fatal(err)
	}
	if status, reasons := n.readiness(); status != 200 {
		t.Fatalf("%d %s", status, reasons)
	}
	if err := syscall.Kill(pid, syscall.SIGUSR2); err != nil {
		t.Fatal(err)
	}
	if _, err := n.wait(regexp.MustCompile(`PID 1 of its container.*It drains now`)); err != nil {
		t.Fatal(err)
	}
	soon(t, "it drains", func() bool {
		status, reasons := n.readiness()
		return status == 503 && strings.Contains(reasons, "draining")
	})
	for _, line := range n.lines {
		if strings.Contains(line, "control socket") {
			t.Errorf("there is a control socket: %s", line)
		}
	}
}
