//go:build e2e

package main

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"belfry/bench/report"
)

// Ten hot restarts under load, with a node beside and alone. That nothing is lost and
// nobody is disconnected counts; times and memory do not.
func TestE2ERestart(t *testing.T) {
	for name, flags := range map[string][]string{"beside another node": nil, "alone": {"--alone"}} {
		t.Run(name, func(t *testing.T) {
			cmd := program(t, append([]string{"restart", "--server", server(t), "--connections", "1000", "--members", "100", "--callers", "20", "--restarts", "10",
				"--pause", "300ms", "--timeout", "4m", "--json"}, flags...)...)
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
			if len(r.Rows) != 9 || r.Unfinished != "" {
				t.Errorf("%d rows; %s", len(r.Rows), r.Unfinished)
			}
			for _, row := range r.Rows {
				for _, exact := range []string{"sessions of", "messages lost", "connects of"} {
					if strings.HasPrefix(row.What, exact) && row.Value != 0 {
						t.Errorf("%s: %v (%v)", row.What, row.Value, row.Notes)
					}
				}
			}
		})
	}
}
