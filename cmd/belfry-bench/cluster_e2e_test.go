//go:build e2e

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"belfry/bench/report"
)

// Every part of the scenario of the cluster, small. Times and memory do not count here.
// That every node answers with the truth, that pushes come once and in order, and that
// the fourth node keeps what it should, is checked by the scenario itself.
func TestE2ECluster(t *testing.T) {
	cmd := program(t, "cluster", "--server", server(t), "--before", server(t), "--connections", "400", "--asks", "100", "--pushes", "50",
		"--join", "1s", "--idle", "3", "--settle", "0s", "--idle-time", "1s", "--rounds", "1", "--timeout", "2m", "--json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var detail struct {
		Rounds []struct {
			Moved    int `json:"moved_sessions"`
			Messages []struct {
				Received []float64 `json:"received"`
			}
		}
	}
	r := report.Report{Detail: &detail}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 13 || r.Unfinished != "" {
		t.Errorf("%d rows; %s", len(r.Rows), r.Unfinished)
	}
	for _, row := range r.Rows {
		switch {
		case row.Missing != "":
			t.Errorf("%s: %s", row.What, row.Missing)
		case strings.HasPrefix(row.What, "messages for a push at the holder") && row.Value != 1:
			t.Errorf("%s: %v; want 1", row.What, row.Value)
		case strings.HasPrefix(row.What, "the same on a node alone") && row.Value != 0:
			t.Errorf("a node alone has %v bytes for others", row.Value)
		}
	}
	if len(detail.Rounds) != 1 || detail.Rounds[0].Moved == 0 || len(detail.Rounds[0].Messages) != 3 {
		t.Errorf("rounds: %+v", detail.Rounds)
	}
	if out, err := program(t, "cluster", "--server", server(t), "--connections", "401", "--only", "x").CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "--connections 401") || !strings.Contains(string(out), "--only x") {
		t.Errorf("%v: %s", err, out)
	}
}
