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

	"belfry/bench/hostile"
)

// hostileProgram returns the command with short phases, for the built belfry.
func hostileProgram(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return program(t, append([]string{"hostile", "--server", server(t), "--idle", "200ms", "--duration", "1s", "--after", "1s", "--timeout", "4m"}, args...)...)
}

// attack runs the program and returns what it measured.
func attack(t *testing.T, args ...string) hostile.Result {
	t.Helper()
	file := filepath.Join(t.TempDir(), "result.json")
	cmd := hostileProgram(t, append([]string{"--json", file}, args...)...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s\n%s", err, out, stderr.String())
	}
	t.Logf("%s", out)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var r hostile.Result
	if err := json.Unmarshal(text, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// unharmed fails the test for every fault that does not depend on the speed of
// the machine. It does not check times.
func unharmed(t *testing.T, r hostile.Result) {
	t.Helper()
	for i := range r.Rows {
		row := &r.Rows[i]
		for _, fault := range row.Faults() {
			t.Errorf("%s, %d: %s", row.Attack, row.Attackers, fault)
		}
		if row.Attacked.Due == 0 || row.Control.Due == 0 || row.NewAttacked.Connected == 0 {
			t.Errorf("%s, %d: nothing was measured: %+v", row.Attack, row.Attackers, row)
		}
		if len(row.LeftOut) > 0 {
			t.Errorf("%s: settings that do not exist: %v", row.Attack, row.LeftOut)
		}
	}
}

// Every client that sends more than the rates allow is closed with 1008, and no
// other client is affected.
func TestE2EHostileFloods(t *testing.T) {
	r := attack(t, "--set", "session.rate_grace=0s", "--only", "commands:8,subscribe:8,topics:8,publish:8,pings:8,pongs:8,messages:8,fragments:8")
	unharmed(t, r)
	limited(t, r)
}

// limited fails the test unless all attackers exceeded a rate and were closed
// with 1008.
func limited(t *testing.T, r hostile.Result) {
	t.Helper()
	for _, row := range r.Rows {
		if row.OnNode.Connected != row.Attackers || row.OnNode.Closed["close 1008"] != row.Attackers {
			t.Errorf("%s: %d attackers, %+v", row.Attack, row.Attackers, row.OnNode)
		}
		moved := 0
		for limit, n := range row.Limits {
			if strings.HasSuffix(limit, "_rate") {
				moved += n
			}
		}
		if moved < row.Attackers {
			t.Errorf("%s: %d attackers were limited: %v", row.Attack, row.Attackers, row.Limits)
		}
	}
}

// Memory for clients stays within its limits, and the attackers are closed.
func TestE2EHostileMemory(t *testing.T) {
	const inbound, backlog, lingering = 8 << 20, 16 << 20, 500
	r := attack(t, "--set", "session.inbound_bytes=8MiB", "--set", "backlog.node_bytes=16MiB", "--set", "nats.max_lingering=500",
		"--only", "unfinished:400,deaf-pings:100,open-topics:4,never-reads:100")
	unharmed(t, r)
	for _, row := range r.Rows {
		for gauge, bound := range map[string]float64{
			"belfry_inbound_bytes": inbound, "belfry_backlog_bytes": backlog,
			// Up to 128 topics for each attacker, one for each innocent client,
			// and those that every node has.
			"belfry_bus_subscriptions": lingering + 4*128 + 200,
		} {
			if row.Gauges[gauge] > bound {
				t.Errorf("%s: %s rose to %.0f, above %.0f", row.Attack, gauge, row.Gauges[gauge], bound)
			}
		}
	}
	if row := r.Rows[0]; row.OnNode.Closed["close 4007"] == 0 || row.Limits["session.inbound_bytes"] == 0 {
		t.Errorf("unfinished messages of 26 MB where 8 MiB are allowed: %+v, %v", row.OnNode, row.Limits)
	}
}

// Strangers can connect while one address holds connections open, and /healthz
// and pushes do not wait for idle or slowly arriving requests.
func TestE2EHostileConnects(t *testing.T) {
	unharmed(t, attack(t, "--only", "half-open-2000,drip-heads:100,api-idle:500,drip-batches:60",
		"--set", "upgrade.max_pending=200", "--set", "api.max_connections=200", "--set", "api.max_requests=50", "--set", "api.max_bodies=40"))
}
