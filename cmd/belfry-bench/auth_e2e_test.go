//go:build e2e

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"belfry/bench/report"
)

// Every part of the scenario of tokens, small. Times and memory do not count here.
// That all clients were admitted, that those that came back were known, and that
// everybody in the storm waited and got 503, is checked by the scenario itself.
func TestE2EAuth(t *testing.T) {
	cmd := program(t, "auth", "--server", server(t), "--connections", "300", "--base", "100", "--rounds", "1", "--memory-rounds", "1",
		"--settle", "100ms", "--storm", "600", "--live", "50", "--storm-rounds", "1", "--push", "2s", "--timeout", "2m", "--json")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.String())
	}
	var detail struct {
		Connects map[string][]struct {
			Hits float64 `json:"cache_hits"`
		}
		Shared map[string][]struct {
			Hits float64 `json:"cache_hits"`
		}
		Storms []struct {
			Hangs struct {
				InFlight float64 `json:"in_flight"`
			}
		}
	}
	r := report.Report{Detail: &detail}
	if err := json.Unmarshal(out, &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Rows) != 25 || r.Unfinished != "" {
		t.Errorf("%d rows; %s", len(r.Rows), r.Unfinished)
	}
	for _, row := range r.Rows {
		if row.Missing != "" {
			t.Errorf("%s: %s", row.What, row.Missing)
		}
	}
	for algorithm, rounds := range detail.Connects {
		want := 300.0
		if algorithm == "none" || algorithm == "HS256" {
			want = 0 // a token with an HMAC is kept when it comes for the second time
		}
		if len(rounds) != 1 || rounds[0].Hits != want {
			t.Errorf("%s: %+v; want %v cache hits", algorithm, rounds, want)
		}
	}
	// At least most of those that come back; before, others may still be verified.
	for algorithm, rounds := range detail.Shared {
		if len(rounds) != 1 || (rounds[0].Hits < 200) != (algorithm == "none") {
			t.Errorf("%s, ten connections with a token: %+v cache hits", algorithm, rounds)
		}
	}
	if len(detail.Storms) != 1 || detail.Storms[0].Hangs.InFlight != 256 {
		t.Errorf("storms: %+v", detail.Storms)
	}
	if out, err := program(t, "auth", "--server", server(t), "--algorithms", "none,HS1", "--only", "x").CombinedOutput(); err == nil ||
		!strings.Contains(string(out), "--algorithms HS1") || !strings.Contains(string(out), "--only x") {
		t.Errorf("%v: %s", err, out)
	}
}
