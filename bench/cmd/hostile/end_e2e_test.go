//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Whatever ends the program, its nodes and attackers end too, and complete rows
// are printed.
func TestE2EHostileEndsCleanly(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGKILL} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			cmd := program(t, "--only", "pings:1,commands:2")
			var out bytes.Buffer
			cmd.Stdout = &out
			stderr, err := cmd.StderrPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			var said strings.Builder
			var pids []int
			for lines := bufio.NewScanner(stderr); lines.Scan(); {
				fmt.Fprintln(&said, lines.Text())
				if strings.Contains(lines.Text(), "2/2") {
					for deadline := time.Now().Add(time.Minute); len(pids) < 3 && time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
						pids = children(t, cmd.Process.Pid)
					}
					_ = cmd.Process.Signal(signal)
				}
			}
			err = cmd.Wait()
			if len(pids) < 3 {
				t.Fatalf("%d children; %v\n%s", len(pids), err, said.String())
			}
			if err == nil {
				t.Error("ended well")
			}
			if signal != syscall.SIGKILL && !strings.Contains(out.String(), "WebSocket pings") {
				t.Errorf("the row that was done is not printed:\n%s\n%s", out.String(), said.String())
			}
			gone(t, pids)
		})
	}
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
			time.Sleep(10 * time.Millisecond)
		}
	}
}
