package bench

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Connection n sends the token in line n.
func TestTokens(t *testing.T) {
	file := filepath.Join(t.TempDir(), "tokens")
	if err := os.WriteFile(file, []byte("t0\nt1\nt2\nt3\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	w := newWire(Dial{Targets: []netip.AddrPort{netip.MustParseAddrPort("127.0.0.1:1")}, Wire: Wire{Tokens: file, Headers: []string{"A: b"}}})
	if err := w.readTokens(2, 2); err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{2: "t2", 3: "t3"} {
		if got := string(w.appendRequest(nil, n)); !strings.Contains(got, "\r\nA: b\r\nAuthorization: Bearer "+want+"\r\n\r\n") {
			t.Errorf("connection %d sends %q", n, got)
		}
	}
	if err := w.readTokens(3, 2); err == nil || !strings.Contains(err.Error(), "4 lines") {
		t.Errorf("a token too few: %v", err)
	}
	w.Tokens += ".missing"
	if err := w.readTokens(0, 1); err == nil {
		t.Error("a file that is missing")
	}
}
