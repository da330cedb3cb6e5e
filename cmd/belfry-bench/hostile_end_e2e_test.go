//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"fmt"
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
			cmd := hostileProgram(t, "--only", "pings:1,commands:2")
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
