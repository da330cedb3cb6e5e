package session

import (
	"encoding/hex"
	"net/netip"
	"os"
	"reflect"
	"strings"
	"testing"

	"belfry/poller"
)

// fullHanded is a session with every field.
func fullHanded() *handed {
	return &handed{
		conn: poller.Handed{ID: poller.ID(7<<32 | 42), Unread: []byte("\x81\x85part"), Unsent: []byte("\x81\x02hi"), CloseWrite: true, Large: true,
			Ticks: 1000, LastRead: 990, LastWrite: 995, Timer: 1010, Timed: true},
		state: handedOpen, marks: markEcho | markPinged | markCloseWrite | markLarge | markCounted,
		variant: 3, uid: []byte("alice"), topics: []joinedTopic{{"news", 0}, {"orders.eu", permitGranted}},
		openedAt: 1_790_000_000, pinged: 3, issued: 1_789_999_000, expires: 1_790_003_600,
		subscribe: []byte("news\x00orders.*"), publish: []byte("chat.*"), meta: []byte(`{"plan":"pro"}`), class: "phone",
		limits: &sessionLimits{25, 90, 80, 70, 10, 5}, remote: netip.MustParseAddrPort("192.0.2.7:51180"),
		kept: []byte("Cookie: a\n"), route: "chat,orders", agent: "curl/8", lasted: 801, inbound: []byte{1, 2, 3}, tokens: []int64{-5, 1 << 40, 0},
		unknown: []byte{0xc8, 0x3e, 9}, // field 4004, a number
	}
}

// The first format of the state stays readable: successors of a later version read it.
func TestHandedFirstFormat(t *testing.T) {
	text, err := os.ReadFile("testdata/handed-1.hex")
	if err != nil {
		t.Fatal(err)
	}
	golden, err := hex.DecodeString(strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", ""))
	if err != nil {
		t.Fatal(err)
	}
	head, rest, err := parseBatchHead(golden)
	if err != nil || head != (batchHead{1000, 77}) {
		t.Fatalf("%+v, %v", head, err)
	}
	fields, rest, err := nextHanded(rest)
	if err != nil || len(rest) > 0 {
		t.Fatalf("%d bytes are left, %v", len(rest), err)
	}
	var got handed
	if err := got.parse(fields, head.ticks); err != nil {
		t.Fatal(err)
	}
	if want := fullHanded(); !reflect.DeepEqual(&got, want) {
		t.Errorf("the golden is\n%+v\nwant\n%+v", &got, want)
	}
	if again := got.append(nil); string(again) != string(fields) { // while this is the format that is written
		t.Errorf("written again it is\n%x\nwant\n%x", again, fields)
	}
}
