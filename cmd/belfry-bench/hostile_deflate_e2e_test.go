//go:build e2e

package main

import (
	"strings"
	"testing"
)

// What a compressed message costs counts for the rates: each client that sends
// too many is closed with 1008. 1007 would mean that the server has refused the
// message itself, so that the attack did not happen.
func TestE2EHostileDeflate(t *testing.T) {
	r := attack(t, "--set", "session.rate_grace=0s", "--only",
		"deflate-tables:8,deflate-most-tables:8,deflate-large:8,deflate-tiny:8,deflate-fragments:8,deflate-commands:8,deflate-costly:8")
	unharmed(t, r)
	limited(t, r)
}

// A message that inflates to more than the limit closes with 1009, each time.
// Memory for clients that do not read stays within its limit.
func TestE2EHostileDeflateMemory(t *testing.T) {
	const backlog = 16 << 20
	r := attack(t, "--set", "backlog.node_bytes=16MiB", "--only", "deflate-bombs:8,deflate-never-reads:100")
	unharmed(t, r)
	if bombs := r.Rows[0].OnNode; bombs.Closed["close 1009"] < 16 || bombs.Closed["close 1009"] < bombs.ClosedCount()*9/10 {
		t.Errorf("bombs: %+v", bombs)
	}
	if most := r.Rows[1].Gauges["belfry_backlog_bytes"]; most > backlog || most == 0 {
		t.Errorf("clients that do not read: a backlog of %.0f bytes", most)
	}
}

// Sessions that begin anew before a rate limits them reach no limit, and harm
// nobody.
func TestE2EHostileDeflateAnew(t *testing.T) {
	r := attack(t, "--only", "renew-deflate-connects:8,renew-deflate-tables:8,renew-deflate-most-tables:8,renew-deflate-large:8,renew-deflate-costly:8")
	unharmed(t, r)
	for _, row := range r.Rows {
		if row.OnNode.Connected <= row.Attackers || row.OnNode.ClosedCount() > 0 || row.OnNode.Limited > 0 {
			t.Errorf("%s: %+v", row.Attack, row.OnNode)
		}
		for limit := range row.Limits {
			if strings.HasSuffix(limit, "_rate") {
				t.Errorf("%s: limited by %s", row.Attack, limit)
			}
		}
	}
}
