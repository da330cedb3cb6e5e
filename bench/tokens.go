package bench

import (
	"fmt"
	"os"
	"strings"
)

// readTokens reads those of so many connections from the file that w.Tokens names.
func (w *wire) readTokens(first, count int) error {
	if w.Tokens == "" {
		return nil
	}
	text, err := os.ReadFile(w.Tokens)
	if err != nil {
		return fmt.Errorf("tokens: %w", err)
	}
	all := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if first+count > len(all) {
		return fmt.Errorf("tokens: %s has %d lines; connections %d to %d need one each", w.Tokens, len(all), first, first+count-1)
	}
	w.tokens, w.first = all[first:first+count], first
	return nil
}
