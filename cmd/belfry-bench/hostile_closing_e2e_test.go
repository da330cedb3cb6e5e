//go:build e2e

package main

import "testing"

// What clients send after a close frame, their own or the server's, does not
// matter to others, and the server ends each of these connections.
func TestE2EHostileClosing(t *testing.T) {
	r := attack(t, "--only", "close-flood:8,closed-flood:8,refused-flood:8,never-closes:1")
	unharmed(t, r)
	for i, code := range []string{"close 1000", "close 1002", "close 1008", "close 1000"} {
		row := &r.Rows[i]
		if row.OnNode.Closed[code] < row.Attackers || row.OnNode.Closed[code] < row.OnNode.ClosedCount()*9/10 {
			t.Errorf("%s: %+v", row.Attack, row.OnNode)
		}
	}
}

// Clients of event streams that do not read, send too much, come again and
// again, or ask for what they do not get, do not matter to others.
func TestE2EHostileEvents(t *testing.T) {
	r := attack(t, "--set", "session.rate_grace=0s", "--only", "sse-never-reads:100,sse-sends:8,sse-storm:8,sse-topics:8,sse-refused:8,sse-drip-heads:100")
	unharmed(t, r)
	for _, row := range r.Rows {
		attackers := row.OnNode
		switch row.Attack {
		case "sse-sends":
			if attackers.ClosedCount() != row.Attackers || row.Limits["session.byte_rate"] == 0 {
				t.Errorf("%s: %v, %+v", row.Attack, row.Limits, attackers)
			}
		case "sse-storm", "sse-topics":
			if attackers.Connected < 3*row.Attackers || attackers.Answers["200"] != attackers.Connected {
				t.Errorf("%s: %+v", row.Attack, attackers)
			}
		case "sse-refused":
			if attackers.Answers["400"] < 3*row.Attackers || attackers.Connected > 0 {
				t.Errorf("%s: %+v", row.Attack, attackers)
			}
		}
	}
}
