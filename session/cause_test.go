package session

import (
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"belfry/ws"
)

// TestCauses holds the registry against the statuses that are counted and the
// table in docs/protocol.md.
func TestCauses(t *testing.T) {
	page, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	rows := strings.Split(string(page), "\n")
	seen := map[string]bool{}
	for _, info := range causes[causeOther:] {
		label := string(info.cause)
		if label == "" || seen[label] || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("cause %q is missing, repeated or no word", label)
		}
		seen[label] = true
		if !slices.Contains(upgradeStatuses[:], info.status) {
			t.Errorf("%s: status %d is not counted", label, info.status)
		}
		named := slices.ContainsFunc(rows, func(row string) bool {
			return strings.HasPrefix(row, fmt.Sprintf("| %d ", info.status)) && strings.Contains(row, "`"+label+"`")
		})
		if !named && info.cause != CauseOther {
			t.Errorf("docs/protocol.md has no row of %d with the cause %q", info.status, label)
		}
	}
}

// TestUpgradesByCause tells refusals of the same status apart.
func TestUpgradesByCause(t *testing.T) {
	r := newRig(t, Options{Authenticator: &Open{}})
	for _, tt := range []struct {
		path, origin, status, cause string
	}{
		{"/ws", "https://evil.example", "403", "origin"},
		{"/ws?topic=secret", "", "403", "topic"},
		{"/ws?topic=..", "", "400", "topic"},
		{"/ws?uid=ann", "", "401", "uid"},
		{"/other", "", "404", "path"},
		{"/ws", "", "101", "none"},
	} {
		key := [2]string{tt.status, tt.cause}
		before := r.Stats().Upgrades[key]
		h := http.Header{}
		if tt.origin != "" {
			h.Set("Origin", tt.origin)
		}
		r.refusal(tt.path, h)
		if n := r.Stats().Upgrades[key] - before; n != 1 {
			t.Errorf("%s of %q: %d counted as %v, want 1: %v", tt.path, tt.origin, n, key, r.Stats().Upgrades)
		}
	}
	var c counters
	c.refused(&ws.Refusal{Status: 418})
	got := map[[2]string]uint64{}
	c.addUpgrades(got)
	if got[[2]string{"other", "other"}] != 1 {
		t.Errorf("an unknown status without a cause: %v", got)
	}
	if n, ok := got[[2]string{"403", "origin"}]; n != 0 || !ok {
		t.Error("no series of an origin's refusal before the first")
	}
}

// TestStatuses holds the table of statuses in docs/protocol.md against those
// of refusals that are counted; 101 and 200 come first.
func TestStatuses(t *testing.T) {
	page, err := os.ReadFile("../docs/protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, status := range upgradeStatuses[2:statusOther] {
		text := (&ws.Refusal{Status: status}).Error()
		if row := "\n| " + strings.TrimSuffix(text, ": ") + " |"; !strings.Contains(string(page), row) {
			t.Errorf("docs/protocol.md has no row %q", row)
		}
	}
}
