package message

import (
	"testing"

	"pgregory.net/rapid"
)

func TestSIDRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n := SID{Node: rapid.Uint32().Draw(t, "node"), Shard: uint16(rapid.IntRange(0, 1023).Draw(t, "shard")), Conn: rapid.Uint64().Draw(t, "conn")}
		var key [32]byte
		copy(key[:], rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "key"))
		sid := n.Format(&key)
		got, ok := ParseSID(sid, &key)
		if !ok || got != n || sid[0] == '-' {
			t.Fatalf("%q: %+v %v, want %+v", sid, got, ok, n)
		}
		if node, err := NodeOf(sid); err != nil || node != n.Node {
			t.Fatalf("node %d %v", node, err)
		}
	})
}
