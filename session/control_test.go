package session

import (
	"errors"
	"fmt"
	"testing"

	"belfry/message"
)

// What is done to sessions says how many it met; those of others are left alone.
func TestControl(t *testing.T) {
	r := newRig(t, Options{MaxTopics: 2})
	one, sid := r.hello("/ws?uid=ann&topic=a")
	two, _ := r.hello("/ws?uid=ann&topic=a&topic=b")
	bob, bobSID := r.hello("/ws?uid=bob")
	join := func(sel Selection, topic string, joined, full int) {
		t.Helper()
		if n, f, err := r.Join(read(t), sel, topic); n != joined || f != full || err != nil {
			t.Errorf("join %+v %s: %d, %d full, %v; want %d and %d", sel, topic, n, f, err, joined, full)
		}
	}
	ann := Selection{UID: "ann"}
	join(ann, "c", 1, 1)
	join(ann, "c", 1, 1) // doing it twice does no harm
	join(ann, "a", 2, 0)
	join(Selection{UID: "nobody"}, "a", 0, 0)
	join(Selection{SID: bobSID, UID: "ann"}, "b", 1, 0)
	if n := r.Stats().Limits["session.max_topics"]; n != 2 {
		t.Error(n)
	}
	r.deliver(message.ToTopics("c"), "hello")
	if m := one.object(); m["topic"] != "c" {
		t.Errorf("%v", m)
	}
	if n, err := r.Leave(read(t), ann, "c"); n != 1 || err != nil {
		t.Error(n, err)
	}
	if m := one.object(); m["type"] != "left" || fmt.Sprint(m["topics"]) != "[c]" {
		t.Errorf("%v", m)
	}
	if n, err := r.End(read(t), Selection{SID: sid}, 4321, "over"); n != 1 || err != nil {
		t.Error(n, err)
	}
	if m := one.object(); m["type"] != "bye" || m["code"] != 4321.0 || m["reason"] != "backend" {
		t.Errorf("%v", m)
	}
	one.wantClose(4321)
	if n, err := r.End(read(t), Selection{SID: sid}, 4321, "over"); n != 0 || err != nil {
		t.Errorf("a session that has ended: %d, %v", n, err)
	}
	if n, err := r.End(read(t), ann, 1000, ""); n != 1 || err != nil {
		t.Error(n, err)
	}
	two.wantClose(1000)
	for name, err := range map[string]error{
		"code":   second(r.End(read(t), ann, 1006, "")),
		"reason": second(r.End(read(t), ann, 1000, "\xff")),
		"topic":  second(r.Leave(read(t), ann, "a.>")),
	} {
		if field, ok := errors.AsType[*message.FieldError](err); !ok || field.Field != name {
			t.Errorf("%s: %v", name, err)
		}
	}
	r.deliver(message.ToTopics("b"), "still here")
	if m := bob.object(); m["topic"] != "b" {
		t.Errorf("%v", m)
	}
}

func second(_ int, err error) error { return err }
