package figures

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/report"
	"belfry/bench/tool"
)

// small returns options of a short measurement of the fake server.
func small(t *testing.T, args ...string) (string, error) {
	t.Helper()
	return smallOf(t, "memory,fanout,push,rates", args...)
}

// smallOf is small for some parts.
func smallOf(t *testing.T, only string, args ...string) (string, error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	scenario := Scenario()
	cmd := scenario.Command()
	cmd.SilenceUsage, cmd.SilenceErrors = true, true
	cmd.SetOut(&out)
	cmd.SetErr(t.Output())
	cmd.SetArgs(append([]string{"--server", self, "--conns", "60", "--base", "20", "--rounds", "2", "--memory-rounds", "1",
		"--broadcasts", "5", "--settle", "50ms", "--ping", "100ms", "--push", "2s", "--push-every", "50ms", "--shards", "2",
		"--rates", "20,40", "--rate-time", "200ms", "--rate-last", "300ms",
		"--only", only, "--timeout", "1m"}, args...))
	err = cmd.ExecuteContext(t.Context())
	return out.String(), err
}

// result is the report of a run.
type result struct {
	report.Report
	Measured measured `json:"detail"`
}

func read(t *testing.T, out string) (r result) {
	t.Helper()
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEverythingAgainstFake(t *testing.T) {
	folder := t.TempDir()
	out, err := small(t, "--json", "--report", folder)
	if err != nil {
		t.Fatal(err)
	}
	r := read(t, out)
	if len(r.Rows) != 8 {
		t.Errorf("%d rows", len(r.Rows))
	}
	for _, row := range r.Rows {
		if row.Missing != "" {
			t.Errorf("%s: %s", row.What, row.Missing)
		}
	}
	if n := len(r.Measured.Floor); n != 2 || len(r.Measured.Server) != 2 || len(r.Measured.Memory) != 1 {
		t.Fatalf("%d rounds", n)
	}
	for i := range 2 {
		f, s := r.Measured.Floor[i], r.Measured.Server[i]
		if len(f.Fanout) != 2 || f.Fanout[0].Threads != 2 || f.Fanout[1].Threads != 1 || len(s.Fanout) != 1 || len(s.Fanout[0].Walls) != 5 {
			t.Errorf("fan-outs of round %d: %+v, %+v", i, f.Fanout, s.Fanout)
		}
		for _, x := range append(s.Fanout, f.Fanout...) {
			if x.CPU <= 0 || x.Wall <= 0 {
				t.Errorf("round %d: %+v", i, x)
			}
		}
		if f.Connects <= 0 || s.Connects <= 0 {
			t.Errorf("round %d: %v and %v connects a second", i, f.Connects, s.Connects)
		}
		if p := s.Push; p == nil || p.Home.Client.Count != 40 || p.Home.Server.Count != 40 || p.Home.Server.P99 != 2e6 || p.Broadcasts < 2 || p.Refused == 0 {
			t.Errorf("round %d: %+v", i, p)
		}
	}
	for i, x := range r.Measured.Rates {
		if want := []float64{4, 12}[i]; math.Round(x.PerSecond*x.Seconds) != want || x.CPU <= 0 || x.Receipt.Count < 4*60 || x.Passes != 2 { // the fake has one fan-out run for each message, not one for each shard
			t.Errorf("%v messages: %+v", want, x)
		}
	}
	if chart, err := os.ReadFile(folder + "/rates.svg"); err != nil || !bytes.Contains(chart, []byte("<svg")) {
		t.Errorf("chart: %v", err)
	}
	if m := r.Measured.Memory[0]; !m.Heartbeat || m.Base == 0 {
		t.Errorf("%+v", m)
	}
}

func TestFaultsAreFound(t *testing.T) {
	for fault, want := range map[string]string{
		"double": "Duplicated:",
		"close":  "EOF 1",
		"start":  "a reason not to start",
	} {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			o := smallOptions(t)
			o.Env = []string{"FAKE_FAULT=" + fault}
			err := o.populate(ctx, tool.NewProgress(t.Output()), false, nil, func(pop *measure.Population) error {
				if err := pop.Connect(ctx, o.Conns); err != nil {
					return err
				}
				if fault != "close" {
					_, err := pop.Fanout(ctx, o.fanout())
					return err
				}
				if _, err := pop.Target.Broadcast(ctx, pop.Pool.Next(), o.Size); err != nil { // not waited for: one client will not get it
					return err
				}
				for {
					if sum, err := pop.Pool.Stats(ctx); err != nil || sum.Open < pop.Pool.Open() {
						return errors.Join(err, pop.Verify(ctx))
					}
					if err := bench.Sleep(ctx, time.Millisecond); err != nil {
						return err
					}
				}
			})
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%v; want %q in it", err, want)
			}
		})
	}
}

func smallOptions(t *testing.T) *Options {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return &Options{Server: self, Conns: 20, Base: 10, Topics: 2, Clients: 2, Shards: 2, Broadcasts: 5, Size: 128}
}

func TestFloorAgainstItself(t *testing.T) {
	out, err := small(t, "--server", "floor", "--rounds", "1")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| what ", "not measured", "publish → last receipt", "floor with 2 threads", bench.Machine()} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	if strings.Contains(out, "NaN") || strings.Contains(out, "%!") {
		t.Errorf("\n%s", out)
	}
}

func TestCheckFails(t *testing.T) {
	// The row of pushes is not measured if the server is the floor.
	if _, err := small(t, "--server", "floor", "--rounds", "1", "--only", "push", "--check"); err == nil {
		t.Error("a target that was not measured passed --check")
	}
}

func TestTimeoutEndsEverything(t *testing.T) {
	_, err := small(t, "--timeout", "300ms", "--push", "1m")
	if err == nil || !strings.Contains(err.Error(), "--timeout") {
		t.Errorf("%v", err)
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil || len(stats) == 0 {
		t.Fatal(stats, err)
	}
	for _, name := range stats {
		stat, err := os.ReadFile(name)
		if err != nil {
			continue // gone since
		}
		// pid (comm) state ppid; man 5 proc
		var state string
		var parent int
		_, rest, _ := strings.Cut(string(stat), ") ")
		if _, err := fmt.Sscan(rest, &state, &parent); err != nil {
			t.Fatalf("%s: %s: %v", name, stat, err)
		}
		if parent == os.Getpid() {
			t.Errorf("left behind: %s", stat)
		}
	}
}

func TestFlagsAreChecked(t *testing.T) {
	for flag, value := range map[string]string{
		"--conns": "1", "--base": "60", "--clients": "0", "--shards": "0", "--rounds": "0", "--memory-rounds": "0",
		"--broadcasts": "0", "--size": "10", "--push": "0s", "--rates": "0", "--only": "tea", "--server": "/nonexistent",
	} {
		if _, err := small(t, flag, value); err == nil || !strings.Contains(err.Error(), flag) {
			t.Errorf("%s %s: %v", flag, value, err)
		}
	}
}

// A client process ends with the program that started it.
func TestClientEndsWithItsInput(t *testing.T) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "client")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	in.Close()
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}

func TestParseAllocs(t *testing.T) {
	const out = `goos: linux
BenchmarkDeliver/plain-2         	 1000000	      1034 ns/op	       0 B/op	       0 allocs/op
BenchmarkDeliver/many-2          	 1000000	      1034 ns/op	        12.5 MB/s	      16 B/op	       2 allocs/op
BenchmarkInboundFrame-2          	 5000000	       234 ns/op	       0 B/op	       0 allocs/op
BenchmarkInboundDeflated-2       	  200000	      9234 ns/op	       0 B/op	       5 allocs/op
BenchmarkOther-2                 	 5000000	       234 ns/op	       0 B/op	       9 allocs/op
PASS
`
	a := parseAllocs(out)
	if a.Delivery != 2 || a.Inbound != 0 || a.Deflated != 5 || len(a.Lines) != 4 {
		t.Errorf("%+v", a)
	}
	if a := parseAllocs("PASS\n"); a.Delivery != -1 || a.Inbound != -1 || a.Deflated != -1 {
		t.Errorf("%+v", a)
	}
}
