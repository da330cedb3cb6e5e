//go:build e2e

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"belfry/bench/report"
	"belfry/bench/tool"
)

// Every part of the figures, small, but for the allocations, which `go test`
// measures. Nothing is lost, and every row has a value.
func TestE2EFigures(t *testing.T) {
	dir := t.TempDir()
	cmd := program(t, "figures", "--server", server(t), "--conns", "300", "--base", "100", "--rounds", "1", "--memory-rounds", "1",
		"--broadcasts", "3", "--settle", "100ms", "--ping", "1s", "--env", "BELFRY_SESSION_PONG_TIMEOUT=1s", "--push", "1s", "--rates", "10,20", "--rate-time", "500ms", "--rate-last", "1s",
		"--only", "memory,fanout,push,rates,variants", "--timeout", "2m", "--json", "--report", dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var r report.Report
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) < 12 {
		t.Errorf("%d rows", len(r.Rows))
	}
	for _, row := range r.Rows {
		if row.Missing != "" {
			t.Errorf("%s: %s", row.What, row.Missing)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "rates.svg")); err != nil {
		t.Error(err)
	}
}

// peers becomes the program that the module of the peers builds, with the same
// arguments. Without it the command says how to make it.
func TestE2EPeers(t *testing.T) {
	dir := t.TempDir()
	cmd := program(t, "peers", "--only", "gws,a b")
	cmd.Env = append(cmd.Env, "PATH="+dir)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "make bench-peers") {
		t.Errorf("%v: %s", err, out)
	}
	if err := os.WriteFile(filepath.Join(dir, "peers"), []byte("#!/bin/sh\nfor a; do echo \"<$a>\"; done\nexit 7\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd = program(t, "peers", "--only", "gws,a b")
	cmd.Env = append(cmd.Env, "PATH="+dir)
	out, err := cmd.CombinedOutput()
	if exit, ok := err.(*exec.ExitError); !ok || exit.ExitCode() != 7 || string(out) != "<--only>\n<gws,a b>\n" {
		t.Errorf("%v: %s", err, out)
	}
}

// The program that make build makes says its version, and refuses what it does
// not know.
func TestE2EBuiltProgram(t *testing.T) {
	bin := filepath.Join(filepath.Dir(server(t)), "belfry-bench")
	out, err := exec.Command(bin, "--version").Output()
	if err != nil || !strings.HasPrefix(string(out), "belfry-bench ") || strings.Contains(string(out), "unknown") {
		t.Errorf("%v: %q", err, out)
	}
	if err, ok := exec.Command(bin, "dance").Run().(*exec.ExitError); !ok || err.ExitCode() != tool.ExitUsage {
		t.Errorf("an unknown scenario: %v", err)
	}
}
