package main

import (
	"bytes"
	"strings"
	"testing"
)

// The load generator has moved; a command of earlier versions says where.
func TestBenchHasMoved(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "run: belfry-bench"},
		{[]string{"--help"}, "run: belfry-bench --help"},
		{[]string{"fanout", "--ports", "9000-9019,9100", "--api", "http://127.0.0.1:8081"}, "run: belfry-bench fanout --ports 9000-9019,9100 --api http://127.0.0.1:8081"},
		{[]string{"fanout", "--send-on-open", `{"id":1}`, "--header", "A: it's", ""}, `run: belfry-bench fanout --send-on-open '{"id":1}' --header 'A: it'\''s' ''`},
	} {
		var out, complaint bytes.Buffer
		code := execute(append([]string{"bench"}, tt.args...), nil, strings.NewReader(""), &out, &complaint)
		text := strings.TrimSuffix(complaint.String(), "\n")
		if code != exitUsage || !strings.HasSuffix(text, tt.want) || strings.Contains(text, "\n") || out.Len() > 0 {
			t.Errorf("%q: exit %d, %q, %q", tt.args, code, &out, text)
		}
	}
}
