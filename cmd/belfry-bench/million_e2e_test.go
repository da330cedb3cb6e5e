//go:build e2e

package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// millionProgram returns the command with the flags of a small run against the
// built belfry.
func millionProgram(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return program(t, append([]string{"million", "--server", server(t), "--connections", "400", "--per-node", "200",
		"--steps", "50", "--broadcasts", "3", "--push", "3s", "--ping", "1s", "--idle", "2s", "--settle", "100ms",
		"--first-port", "23450", "--timeout", "2m"}, args...)...)
}

// result has the tested fields of the program's JSON.
type result struct {
	Rows   []struct{ What, Missing string }
	Detail struct {
		Facts struct {
			Low  int `json:"port_low"`
			High int `json:"port_high"`
		}
		Plan struct {
			Nodes []struct{ Connections int }
		}
		Floor, Belfry side
		Push          struct {
			Home, Away latency
			Broadcasts int
		}
		Idle struct {
			Ramp     struct{ Opened int }
			Pings    int
			Cores    float64
			Readings []struct{ Connections int }
			Left     struct{ RSS int64 }
		}
	}
}

type side struct {
	Ramp    struct{ Opened int }
	Fanouts []struct {
		Connections, Nodes int
		CPU                float64 `json:"cpu_us"`
	}
}

type latency struct {
	Server, Client struct{ Count int }
}

func TestE2EMillion(t *testing.T) {
	dir := t.TempDir()
	cmd := millionProgram(t, "--json", "--report", dir)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var r result
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	for _, row := range r.Rows {
		if row.Missing != "" {
			t.Errorf("%s: %s", row.What, row.Missing)
		}
	}
	if len(r.Detail.Plan.Nodes) != 2 {
		t.Errorf("%d nodes", len(r.Detail.Plan.Nodes))
	}
	for name, s := range map[string]side{"floor": r.Detail.Floor, "belfry": r.Detail.Belfry} {
		if s.Ramp.Opened != 400 || len(s.Fanouts) != 2 {
			t.Fatalf("%s: %+v", name, s)
		}
		if first, last := s.Fanouts[0], s.Fanouts[1]; first.Connections != 50 || first.Nodes != 1 || last.Connections != 400 || last.Nodes != 2 || last.CPU <= 0 {
			t.Errorf("%s: %+v", name, s.Fanouts)
		}
	}
	if p := r.Detail.Push; p.Home.Server.Count < 100 || p.Home.Client.Count != p.Home.Server.Count || p.Away.Client.Count < 100 || p.Broadcasts < 2 {
		t.Errorf("push: %+v", p)
	}
	if d := r.Detail.Idle; d.Ramp.Opened != 400 || d.Pings < 200 || d.Cores <= 0 || len(d.Readings) != 5 || d.Left.RSS <= 0 {
		t.Errorf("idle: %+v", d)
	}
	if _, err := os.Stat(filepath.Join(dir, "report.md")); err != nil {
		t.Error(err)
	}
}

// Whatever ends the program, its child processes end too.
func TestE2EMillionEndsCleanly(t *testing.T) {
	for _, c := range []struct {
		signal syscall.Signal
		at     string // the stage in which it comes
		report bool   // of what was measured until then
	}{
		{syscall.SIGINT, "belfry: pushes to one user", true},
		{syscall.SIGTERM, "floor: fan-outs to 400", true},
		{syscall.SIGKILL, "idle: pings every", false},
	} {
		t.Run(c.signal.String(), func(t *testing.T) {
			t.Parallel()
			cmd := millionProgram(t, "--push", "30s", "--idle", "60s", "--broadcasts", "1000", "--first-port", strconv.Itoa(23600+20*int(c.signal)))
			if c.signal != syscall.SIGTERM {
				cmd.Args = append(cmd.Args, "--skip-floor", "--broadcasts", "3")
			}
			if c.signal == syscall.SIGKILL {
				cmd.Args = append(cmd.Args, "--push", "0")
			}
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
				if pids == nil && strings.Contains(lines.Text(), c.at) {
					pids = children(t, cmd.Process.Pid)
					cmd.Process.Signal(c.signal)
				}
			}
			err = cmd.Wait()
			if len(pids) < 4 {
				t.Fatalf("%d children; %v\n%s", len(pids), err, said.String())
			}
			if err == nil {
				t.Error("ended well")
			}
			if c.report && !strings.Contains(out.String(), "NOT FINISHED: ") {
				t.Errorf("no report of what was measured:\n%s\n%s", out.String(), said.String())
			}
			if c.report && !strings.Contains(out.String(), "| time to connect 400") {
				t.Errorf("no table:\n%s", out.String())
			}
			gone(t, pids)
		})
	}
}

// Where a host was tuned so that nearly all ports are ephemeral, the servers'
// ports are held before any connection is made. The range of ports belongs to a
// network namespace.
func TestE2EMillionWhereAllPortsAreEphemeral(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root")
	}
	cmd := millionProgram(t, "--json", "--push", "1s", "--idle", "1s")
	const inside = `set -e
ip link set lo up
echo 1024 65535 > /proc/sys/net/ipv4/ip_local_port_range
exec "$@"`
	shell, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Path, cmd.Args = shell, append([]string{"sh", "-c", inside, "sh"}, cmd.Args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var r result
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if r.Detail.Facts.Low != 1024 || r.Detail.Facts.High != 65535 || r.Detail.Belfry.Ramp.Opened != 400 || r.Detail.Idle.Ramp.Opened != 400 {
		t.Errorf("%+v", r.Detail)
	}
}
