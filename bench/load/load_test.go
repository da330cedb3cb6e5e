package load

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"belfry/bench"
	"belfry/bench/report"
	"belfry/bench/tool"
)

// outcome is the report of a run with its detail.
type outcome struct {
	*report.Report
	*Detail
}

func runFake(t *testing.T, o Options) outcome {
	t.Helper()
	if err := valid(&o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	r, err := Run(ctx, &o, tool.NewProgress(io.Discard))
	if err != nil {
		t.Fatal(err)
	}
	return outcome{r, r.Detail.(*Detail)}
}

func TestEveryMode(t *testing.T) {
	for mode, want := range map[string]struct {
		figure   string
		received uint64 // 0: any number but 0
		latency  string
	}{
		Connect:   {"server RSS", 0, connectLatency},
		Fanout:    {"publish → last receipt, median", (5 + warmups) * 40, receiptLatency},
		Push:      {"pushes per second", 0, pushLatency},
		Echo:      {"echoes per second", 0, echoLatency},
		Heartbeat: {"pings answered", 0, ""},
		Storm:     {"all back after, median", 0, connectLatency},
		Slow:      {"clients that stopped reading", 0, receiptLatency},
		Soak:      {"messages to all", 0, receiptLatency},
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			o := startFake(t, mode, "")
			if mode == Soak {
				o.Interval = 10 * time.Millisecond
			}
			r := runFake(t, o)
			if r.Err(false) != nil || r.Opened != 40 || r.Open != 40 || r.Lost+r.Failed != 0 {
				t.Errorf("%v; %d opened, %d open, %d lost, %d failed", r.Err(false), r.Opened, r.Open, r.Lost, r.Failed)
			}
			if !slices.ContainsFunc(r.Rows, func(row bench.Row) bool { return row.What == want.figure }) {
				t.Errorf("no %q in %+v", want.figure, r.Rows)
			}
			silent := mode == Connect || mode == Heartbeat || mode == Storm
			if want.received > 0 && r.Received != want.received || silent != (r.Received == 0) {
				t.Errorf("%d messages received", r.Received)
			}
			if want.latency != "" && r.Find(want.latency) == nil {
				t.Errorf("no latency %q", want.latency)
			}
			testFolder(t, r)
		})
	}
}

// testFolder writes the report and checks that all files named in it exist.
func testFolder(t *testing.T, r outcome) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "report")
	if err := r.WriteFolder(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "report.md"))
	if err != nil {
		t.Fatal(err)
	}
	charts := strings.Count(string(text), "](")
	files, _ := filepath.Glob(filepath.Join(dir, "*.svg"))
	if charts == 0 || charts != len(files) {
		t.Errorf("%d charts named, %v there", charts, files)
	}
	p, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		t.Fatal(err)
	}
	detail := new(Detail)
	back := report.Report{Detail: detail}
	if err := json.Unmarshal(p, &back); err != nil || detail.Received != r.Received || len(back.Latencies) != len(r.Latencies) ||
		len(back.Latencies) > 0 && back.Latencies[0].Histogram.Quantiles() != r.Latencies[0].Quantiles {
		t.Errorf("%v; read back %d messages, %d latencies", err, detail.Received, len(back.Latencies))
	}
}

func TestFaultsAreFound(t *testing.T) {
	for _, tt := range []struct{ mode, fault, want string }{
		{Fanout, "drop", "messages after"}, // the wait for all receipts gives up
		{Fanout, "double", "Duplicated:"},
		{Fanout, "reorder", "Reordered:"},
		{Fanout, "damage", "corrupt"},
		{Fanout, "close", "connections were lost: EOF 1"},
		{Connect, "refuse", "connections could not be made: status 403 1"},
		{Push, "drop", "Lost:"},
		{Push, "double", "Duplicated:"},
		{Push, "reorder", "Reordered:"},
		{Push, "damage", "corrupt"},
		{Push, "mislead", "to the wrong user"},
		{Push, "close", "are missing"},
		{Echo, "drop", "did not come back"},
	} {
		t.Run(tt.mode+" "+tt.fault, func(t *testing.T) {
			t.Parallel()
			o := startFake(t, tt.mode, tt.fault)
			if tt.mode == Push {
				o.Users, o.Duration = 8, 2*time.Second // so that the faulty user gets many, also on a busy machine
			}
			if tt.mode == Echo {
				o.OpenRate = 2000
			}
			r := runShort(t, o)
			if err := r.Err(false); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v; want %q", err, tt.want)
			}
		})
	}
}

// runShort does not wait long for messages that will not arrive.
func runShort(t *testing.T, o Options) outcome {
	t.Helper()
	o.grace = 300 * time.Millisecond
	return runFake(t, o)
}

func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := (&fake{at: map[int]func(){20: cancel}}).start(t, Soak) // each has got some by then
	o.Duration = time.Hour
	if err := valid(&o); err != nil {
		t.Fatal(err)
	}
	r, err := Run(ctx, &o, tool.NewProgress(io.Discard))
	if r == nil || err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Fatal(err)
	}
	if d := r.Detail.(*Detail); d.Received == 0 || len(d.Receipts) == 0 || len(r.Problems) > 0 {
		t.Errorf("%q, %d messages received, %d to all", r.Problems, d.Received, len(d.Receipts))
	}
}

func TestIPv6(t *testing.T) {
	for _, sources := range [][]string{nil, {"::1"}} {
		o := (&fake{ipv6: true}).start(t, Fanout)
		o.Sources = sources
		r := runFake(t, o)
		if err := r.Err(false); err != nil || r.Open != o.Connections {
			t.Errorf("from %v: %d open, %v", sources, r.Open, err)
		}
	}
}

func TestPublishCommand(t *testing.T) {
	o := startFake(t, Fanout, "")
	o.Publish.Command = "curl -s --data-binary @- " + o.Publish.API + "/v1/all"
	o.Publish.API = ""
	o.Connections, o.Messages = 3, 1
	r := runFake(t, o)
	if r.Err(false) != nil && !strings.Contains(r.Err(false).Error(), "not found") { // no curl here
		t.Error(r.Err(false))
	}
}

func TestWrongKey(t *testing.T) {
	for _, mode := range []string{Fanout, Push} {
		o := startFake(t, mode, "")
		o.Publish.Key = "wrong"
		if err := runFake(t, o).Err(false); err == nil || !strings.Contains(err.Error(), "status 401: the key is wrong") {
			t.Errorf("%s: %v", mode, err)
		}
	}
}

// A pusher at a rate counts the time that a message waited for a connection.
func TestOpenLoopCountsWaiting(t *testing.T) {
	o := startFake(t, Push, "")
	o.OpenRate, o.Concurrency, o.Users = 2000, 2, 4
	r := runFake(t, o)
	if r.Err(false) != nil {
		t.Fatal(r.Err(false))
	}
	var accepted float64
	for _, f := range r.Rows {
		if f.What == "pushes accepted" {
			accepted = f.Value
		}
	}
	if accepted < 390 || accepted > 401 {
		t.Errorf("%v pushes in 200 ms at 2,000 a second", accepted)
	}
	if a := r.Find(answerLatency); a == nil || a.Count != int64(accepted) || a.Max < int64(time.Millisecond) { // every seventh was refused at first
		t.Errorf("%+v", a)
	}
}

func TestClientAsBottleneck(t *testing.T) {
	doubts := func(after ...bench.Stats) []string {
		o := defaults(Fanout)
		r := &run{o: &o, rep: &report.Report{}, detail: &Detail{}, before: make([]bench.Stats, len(after))}
		h := bench.NewHistogram()
		h.Record(20e6)
		r.rep.Latency(receiptLatency, h)
		r.doubt(after)
		return r.rep.Warnings
	}
	if w := doubts(bench.Stats{At: 1e9, CPU: 5e8}, bench.Stats{At: 1e9, CPU: 95e7, RunDelay: 3e8, Gap: 6e6}); len(w) != 3 {
		t.Errorf("%q", w)
	}
	if w := doubts(bench.Stats{At: 1e9, CPU: 5e8, Gap: 4e6}, bench.Stats{At: 1e9, CPU: 8e8}); len(w) != 0 {
		t.Errorf("%q", w)
	}
}
