package broadcast

import (
	"reflect"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"pgregory.net/rapid"

	"belfry/message"
)

// travel encodes and decodes each part of m as if it went over NATS, whose
// clients trim header values.
func travel(t *rapid.T, m *message.Message, self uint32) []*message.Message {
	ps, err := splitMessage(m, self+1, nodeOf)
	if err != nil {
		t.Fatal(err)
	}
	var out []*message.Message
	for i := range ps {
		msg := encode(ps[i].subject, &ps[i], stamp{node: 7, epoch: 8, number: 9}, origin{})
		size := len("NATS/1.0\r\n\r\n") + len(msg.Data)
		for k, vs := range msg.Header {
			for j, v := range vs {
				size += len(k) + len(v) + len(": \r\n")
				if strings.TrimSpace(v) != v || strings.ContainsAny(v, "\r\n") {
					t.Fatalf("header %s: NATS would change %q", k, v)
				}
				vs[j] = strings.TrimSpace(v)
			}
		}
		if size > ps[i].size {
			t.Fatalf("%d bytes, %d reserved", size, ps[i].size)
		}
		o := decoder{node: self, maxPayload: 1 << 20, nodeOf: nodeOf}
		st, numbered, err := o.stamp(msg)
		if err != nil || !numbered || st != (stamp{7, 8, 9}) {
			t.Fatalf("stamp %+v %v %v", st, numbered, err)
		}
		got, err := o.decode(msg, numbered)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, got)
	}
	return out
}

func TestEnvelopeRoundTrip(t *testing.T) {
	const self = 0xfeed
	rapid.Check(t, func(t *rapid.T) {
		uid := rapid.StringMatching(`[ %a-zé]{1,12}`)
		m := &message.Message{
			ID:      rapid.StringMatching(`[!-~]{1,20}`).Draw(t, "id"),
			Key:     rapid.StringMatching(`[ %a-zé]{0,12}`).Draw(t, "key"),
			Kind:    message.Kind(rapid.IntRange(0, 1).Draw(t, "kind")),
			Payload: []byte(rapid.StringMatching(`.{0,40}`).Draw(t, "payload")),
		}
		var want []string
		switch rapid.IntRange(0, 3).Draw(t, "scope") {
		case 0:
		case 1:
			want = distinct(rapid.SliceOfN(rapid.StringMatching(`[a-z:/@]{1,9}(\.[a-z]{1,3})?`), 1, 5).Draw(t, "topics"))
			m.Target = message.ToTopics(want...)
		case 2:
			want = distinct(rapid.SliceOfN(uid, 1, 5).Draw(t, "users"))
			m.Target = message.ToUsers(want...)
		case 3:
			want = []string{sid(self, 1), sid(self, 2)}
			m.Target = message.ToSessions(want...)
		}
		if rapid.Bool().Draw(t, "exclude") {
			m.Target.Exclude = sid(1, 2)
			m.Target.ExcludeTopics = []string{"a.b", "c:/@"}
			m.Op = rapid.Uint32().Draw(t, "op")
		}
		reached := make(map[string]bool)
		for _, got := range travel(t, m, self) {
			for _, name := range got.Target.Names {
				reached[name] = true
			}
			names := got.Target.Names
			got.Target.Scope, got.Target.Names = m.Target.Scope, m.Target.Names
			if !reflect.DeepEqual(got, m) {
				t.Fatalf("%+v became %+v", m, got)
			}
			if m.Target.Scope == message.ScopeTopics && !reflect.DeepEqual(names, want) {
				t.Fatalf("topics %q became %q", want, names)
			}
		}
		if len(reached) != len(want) {
			t.Fatalf("%v reached of %q", reached, want)
		}
	})
}

func TestEscape(t *testing.T) {
	for in, want := range map[string]string{
		"bob": "bob", "a b": "a b", " a ": "%20a%20", "50%": "50%25", " ": "%20", "é@x/y": "é@x/y", "a\tb": "a%09b",
	} {
		if got := escape(in); got != want {
			t.Errorf("escape(%q) = %q, want %q", in, got, want)
		}
		if back, ok := unescape(want); !ok || back != in {
			t.Errorf("unescape(%q) = %q", want, back)
		}
	}
	for _, in := range []string{"%", "a%2", "%g0", "%0g"} {
		if _, ok := unescape(in); ok {
			t.Errorf("unescape(%q) succeeded", in)
		}
	}
}

func TestSubjects(t *testing.T) {
	// The documented example; the hash is part of the protocol.
	if got := UserBucket("123456789"); got != 0xcbf43926%userBuckets {
		t.Errorf("CRC-32 check value: %d", got)
	}
	for _, s := range []string{"", "x", "4096", "-1", "07", "+1", "1 "} {
		if _, ok := parseUserBucket(s); ok {
			t.Errorf("bucket %q accepted", s)
		}
	}
	if nodeSubject(0xab) != "belfry.node.000000ab" {
		t.Error(nodeSubject(0xab))
	}
	for _, s := range []string{"", "ab", "000000AB", "0000000g", "+00000ab"} {
		if _, ok := parseNode(s); ok {
			t.Errorf("node %q accepted", s)
		}
	}
}

// A decoded message is valid, whatever its headers contained.
func FuzzDecode(f *testing.F) {
	f.Add("belfry.all", "Belfry-Kind", "text", "Belfry-Id", "x", []byte("a"))
	f.Add("belfry.topic.news", "Belfry-Topic", "news", "Belfry-Seq", "1.1", []byte{0xff})
	f.Add("belfry.user.404", "Belfry-User", "%20", "Belfry-Node", "00000001", []byte(""))
	f.Fuzz(func(t *testing.T, subject, k1, v1, k2, v2 string, data []byte) {
		o := decoder{node: 1, maxPayload: 64, nodeOf: message.NodeOf}
		m := &nats.Msg{Subject: subject, Data: data, Header: nats.Header{k1: {v1}, k2: {v2}}}
		_, numbered, err := o.stamp(m)
		if err != nil {
			return
		}
		out, err := o.decode(m, numbered)
		if err != nil {
			return
		}
		if err := out.Check(64); err != nil {
			t.Fatalf("%q %v: %v", subject, m.Header, err)
		}
	})
}

// parseBeacon reads what the network brings, and its result survives encoding.
func FuzzBeacon(f *testing.F) {
	b := beacon{node: 1, name: "n", instance: "i", round: 2, maxEpoch: 3}
	f.Add(appendEntry(b.appendHead(nil), beaconEntry{"belfry.all", 1, 2, 3}))
	f.Fuzz(func(t *testing.T, p []byte) {
		b, err := parseBeacon(p)
		if err != nil {
			return
		}
		k := newTracker()
		k.onBeacon(b, k.now)
		q := b.appendHead(nil)
		for _, e := range b.entries {
			q = appendEntry(q, e)
		}
		again, err := parseBeacon(q)
		if err != nil || !reflect.DeepEqual(again, b) {
			t.Fatalf("%q became %q: %v", p, q, err)
		}
	})
}
