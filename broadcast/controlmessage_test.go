package broadcast

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestControlMessage(t *testing.T) {
	m := controlMessage{from: Peer{0xab, "edge-1"}, form: formAsk, kind: "revocations", ref: 0x1f, left: 1500*time.Millisecond + 1, body: []byte("a\nb")}
	text := string(m.append(nil))
	if want := "belfry 1 000000ab edge-1 ask revocations 000000000000001f 1501\na\nb"; text != want {
		t.Errorf("%q, want %q", text, want)
	}
	for _, bad := range []string{
		"", "belfry 1 000000ab a ask k 000000000000001f 1", "belfry 2 000000ab a ask k 000000000000001f 1\n",
		"belfry 1 ab a ask k 000000000000001f 1\n", "belfry 1 000000ab  ask k 000000000000001f 1\n",
		"belfry 1 000000ab a order k 000000000000001f 1\n", "belfry 1 000000ab a ask K 000000000000001f 1\n",
		"belfry 1 000000ab a ask k 1f 1\n", "belfry 1 000000ab a ask k 000000000000001F 1\n",
		"belfry 1 000000ab a ask k 000000000000001f 60001\n", "belfry 1 000000ab a ask k 000000000000001f 01\n",
		"belfry 1 000000ab a ask k 000000000000001f -1\n", "belfry 1 000000ab a ask k 000000000000001f 1 \n",
		"belfry 1 000000ab a tell " + strings.Repeat("k", 33) + " 0000000000000000 0\n",
		"belfry 1 000000ab a tell k 0000000000000000 0\n" + strings.Repeat("x", MaxControlBody+maxControlHead),
	} {
		if m, err := parseControl([]byte(bad)); err == nil {
			t.Errorf("%.60q was taken as %+v", bad, m)
		}
	}
}

func FuzzControlMessage(f *testing.F) {
	f.Add([]byte("belfry 1 000000ab edge-1 ask revocations 000000000000001f 1501\na\nb"))
	f.Add([]byte("belfry 1 000000ab a tell k 0000000000000000 0\n"))
	f.Add([]byte("belfry 1 000000ab a refusal k 0000000000000001 0\nno"))
	f.Fuzz(func(t *testing.T, p []byte) {
		m, err := parseControl(p)
		if err != nil {
			return
		}
		if again := m.append(nil); !bytes.Equal(again, p) {
			t.Errorf("%q became %q", p, again)
		}
	})
}
