//go:build e2e

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"belfry/bench"
	"belfry/bench/load"
	"belfry/bench/report"
	"belfry/bench/tool"
)

// startBenched starts a node and returns the flags to reach it, without and
// with the flags for publishing.
func startBenched(t *testing.T) (target, publish []string) {
	t.Helper()
	address := func() string {
		addr, err := bench.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		return addr.String()
	}
	listen, api := address(), address()
	cmd := exec.Command(server(t), "serve", "--dev", "--listen", listen, "--api", api, "--log-level", "warn")
	cmd.Env = append(os.Environ(), "BELFRY_SESSION_PING_INTERVAL=1s")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		close(ended)
	}()
	t.Cleanup(func() {
		cmd.Process.Kill()
		<-ended
	})
	for deadline := time.Now().Add(time.Minute); ; {
		resp, err := http.Get("http://" + api + "/readyz")
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(deadline) {
			t.Fatalf("the node is not ready: %v", err)
		}
		select {
		case <-ended:
			t.Fatal("the node ended at once")
		case <-time.After(20 * time.Millisecond): // before the next look
		}
	}
	_, port, _ := net.SplitHostPort(listen)
	target = []string{"--ports", port, "--server-pid", strconv.Itoa(cmd.Process.Pid), "--json"}
	return target, []string{"--api", "http://" + api}
}

func TestE2EBenchModes(t *testing.T) {
	target, publish := startBenched(t)
	for _, tt := range []struct {
		args     []string
		received uint64 // 0: none; 1: some
		figure   string
	}{
		{[]string{"connect", "--connections", "500", "--duration", "100ms"}, 0, "server RSS per connection"},
		{append(publish, "fanout", "--connections", "500", "--messages", "5", "--topics", "7"), 7 * 500, "server CPU per delivery"},
		{append(publish, "push", "--connections", "200", "--duration", "500ms", "--concurrency", "10"), 1, "pushes per second"},
		{append(publish, "push", "--connections", "200", "--duration", "500ms", "--open-rate", "500"), 2500, "sent late by at most"},
		{[]string{"echo", "--connections", "100", "--duration", "300ms"}, 1, "server CPU per echo"},
		{[]string{"echo", "--connections", "100", "--duration", "500ms", "--open-rate", "1000", "--echo", "a {payload} b", "--wrapped"}, 500, "echoes back"},
		{[]string{"heartbeat", "--connections", "100", "--duration", "2500ms"}, 0, "server CPU per ping and pong"},
		{[]string{"storm", "--connections", "500", "--rounds", "2"}, 0, "all back after, median"},
		{append(publish, "slow", "--connections", "100", "--messages", "20", "--interval", "1ms", "--size", "4000"), 1, "clients that stopped reading"},
		{append(publish, "soak", "--connections", "100", "--duration", "500ms", "--interval", "20ms"), 1, "messages to all"},
	} {
		t.Run(strings.Join(tt.args, " "), func(t *testing.T) {
			folder := filepath.Join(t.TempDir(), "report")
			args := tt.args
			if args[0] == publish[0] { // the mode comes first
				args = append([]string{args[2]}, append(args[3:], publish...)...)
			}
			var stdout, stderr bytes.Buffer
			cmd := program(t, slices.Concat(args, target, []string{"--report", folder})...)
			cmd.Stdout, cmd.Stderr = &stdout, &stderr
			if err := cmd.Run(); err != nil {
				t.Fatalf("%v: %s", err, &stderr)
			}
			r, d := readLoad(t, stdout.Bytes())
			// 500 messages may be 499 or 501, depending on timing.
			if want := tt.received; want == 0 && d.Received != 0 || want == 1 && d.Received == 0 ||
				want > 1 && (d.Received < want*98/100 || d.Received > want*102/100) {
				t.Errorf("%d messages received", d.Received)
			}
			found := false
			for _, f := range r.Rows {
				found = found || f.What == tt.figure && f.Value > 0
			}
			if !found {
				t.Errorf("no %q in %+v", tt.figure, r.Rows)
			}
			text, err := os.ReadFile(filepath.Join(folder, "report.md"))
			if err != nil || !bytes.Contains(text, []byte(".svg)")) {
				t.Errorf("report.md: %v:\n%s", err, text)
			}
		})
	}
}

// readLoad reads a report.
func readLoad(t *testing.T, text []byte) (report.Report, load.Detail) {
	t.Helper()
	var d load.Detail
	r := report.Report{Detail: &d}
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	return r, d
}

// secondSent says whether the node has accepted a second message: then the
// clients have the first.
func secondSent(t *testing.T, api string) bool {
	t.Helper()
	resp, err := http.Get(api + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	p, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := bytes.Cut(p, []byte("\nbelfry_bus_published_total "))
	var n int
	if _, err := fmt.Sscan(string(rest), &n); err != nil {
		t.Fatal(err)
	}
	return n >= 2
}

// Ctrl-C ends a run with the report so far and leaves no client behind.
func TestE2EBenchInterrupted(t *testing.T) {
	target, publish := startBenched(t)
	args := append([]string{"soak", "--connections", "100", "--interval", "10ms", "--duration", "1h"}, append(target, publish...)...)
	var stdout, stderr bytes.Buffer
	cmd := program(t, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); len(children(t, cmd.Process.Pid)) == 0; {
		if time.Now().After(deadline) {
			t.Fatal("no client process was started")
		}
		time.Sleep(10 * time.Millisecond) // before the next look
	}
	clients := children(t, cmd.Process.Pid)
	for begun := time.Now(); !secondSent(t, publish[1]) && time.Since(begun) < time.Minute; {
		time.Sleep(10 * time.Millisecond) // before the next look
	}
	cmd.Process.Signal(os.Interrupt)
	var exit *exec.ExitError
	if err := cmd.Wait(); !errors.As(err, &exit) || exit.ExitCode() != tool.ExitFailed || !strings.Contains(stderr.String(), "interrupted") {
		t.Errorf("%v: %s", err, &stderr)
	}
	if r, d := readLoad(t, stdout.Bytes()); r.Unfinished == "" || d.Received == 0 || len(r.Problems) > 0 {
		t.Errorf("%+v", r)
	}
	gone(t, clients)
}

func TestE2EBenchWrongUsage(t *testing.T) {
	for _, args := range [][]string{{"fanout"}, {"connect", "--connections", "0"}, {"connect", "--ports", "x"}, {"connect", "--processes", "0"}, {"dance"}} {
		out, err := program(t, args...).CombinedOutput()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != tool.ExitUsage {
			t.Errorf("%q: %v: %s", args, err, out)
		}
	}
}
