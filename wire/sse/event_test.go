package sse

import (
	"encoding/base64"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"belfry/message"
	"belfry/wire"
)

// normal returns text as data lines can carry it: every end of a line is LF.
func normal(text string) string {
	return strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(text)
}

// wanted returns the event that a payload has to become.
func wanted(p wire.Payload) event {
	e := event{kind: "message", data: normal(string(p.Data))}
	if !strings.ContainsAny(p.ID, "\r\n\x00") {
		e.id = p.ID
	}
	if p.Event != "" && !strings.ContainsAny(p.Event, "\r\n\x00") {
		e.kind = p.Event
	}
	if p.Kind == message.Binary {
		e.kind += Base64
		e.data = base64.StdEncoding.EncodeToString(p.Data)
	}
	return e
}

func TestEvents(t *testing.T) {
	for _, c := range []struct {
		payload wire.Payload
		bytes   string
	}{
		{wire.Payload{Data: []byte("hi")}, "data: hi\n\n"},
		{wire.Payload{}, "data: \n\n"},
		{wire.Payload{Data: []byte("hi"), ID: "7", Event: "news"}, "id: 7\nevent: news\ndata: hi\n\n"},
		{wire.Payload{Data: []byte(" a\nb\rc\r\nd\n")}, "data:  a\ndata: b\ndata: c\ndata: d\ndata: \n\n"},
		{wire.Payload{Data: []byte("\r\r\n\n\r")}, "data: \ndata: \ndata: \ndata: \ndata: \n\n"},
		{wire.Payload{Data: []byte("id: 1\n\nevent: x")}, "data: id: 1\ndata: \ndata: event: x\n\n"},
		{wire.Payload{Data: []byte{0, 0xff, '\n'}, Kind: message.Binary}, "event: message;base64\ndata: AP8K\n\n"},
		{wire.Payload{Data: []byte{0xfb, 0xff}, Kind: message.Binary, Event: "news"}, "event: news;base64\ndata: +/8=\n\n"},
		{wire.Payload{Kind: message.Binary, Event: "news", ID: "x"}, "id: x\nevent: news;base64\ndata: \n\n"},
		{wire.Payload{Data: []byte("hi"), ID: "7\nevent: x", Event: "news"}, "event: news\ndata: hi\n\n"},
		{wire.Payload{Data: []byte("hi"), ID: "a\x00", Event: "x\rdata: y"}, "data: hi\n\n"},
		{wire.Payload{Data: []byte("hi"), ID: " 7", Event: ":x"}, "id:  7\nevent: :x\ndata: hi\n\n"},
	} {
		got := string(new(Transport).AppendFrame(nil, c.payload))
		if got != c.bytes {
			t.Errorf("%+v\nis   %q\nwant %q", c.payload, got, c.bytes)
		}
		if s := parse(got); !slices.Equal(s.events, []event{wanted(c.payload)}) {
			t.Errorf("%+v\nis read as %q\nwant       %q", c.payload, s.events, wanted(c.payload))
		}
	}
}

// Appending keeps the bytes before it, and a payload without an id
// keeps the id of the one before.
func TestEventsFollowEachOther(t *testing.T) {
	tr := new(Transport)
	stream := tr.AppendFrame([]byte(":\n"), wire.Payload{ID: "1", Event: "a", Data: []byte("x")})
	stream = tr.AppendPing(stream)
	stream = tr.AppendFrame(stream, wire.Payload{Data: []byte("y")})
	stream = tr.AppendPong(stream, []byte("z"))
	stream = tr.AppendCloseReply(stream, 1000)
	want := []event{{"1", "a", "x"}, {"1", "message", "y"}}
	if s := parse(string(stream)); !slices.Equal(s.events, want) || s.retry != 0 {
		t.Errorf("%q is read as %q, retry %v", stream, s.events, s.retry)
	}
}

// Whatever the payload, a client gets exactly one event with the payload's id,
// type and data, and no field that the payload brought along.
func FuzzEvent(f *testing.F) {
	f.Add([]byte("a\r\n\rb\n"), "id", "news", false)
	f.Add([]byte("data: x\n\nretry: 1"), "1\r\nretry: 1", "a\x00", false)
	f.Add([]byte("\xef\xbb\xbf\x00"), "", "", true)
	f.Add([]byte(": comment"), "\r", "\n", true)
	f.Fuzz(func(t *testing.T, data []byte, id, kind string, binary bool) {
		if !utf8.ValidString(id) || !utf8.ValidString(kind) || !binary && !utf8.Valid(data) {
			t.Skip("ids, topics and texts are UTF-8: message.Check sees to it")
		}
		p := wire.Payload{Data: data, ID: id, Event: kind}
		if binary {
			p.Kind = message.Binary
		}
		tr := new(Transport)
		got := tr.AppendFrame([]byte("retry: 5\n\n"), p)
		s := parse(string(got))
		if want := []event{wanted(p)}; !slices.Equal(s.events, want) || s.retry.Milliseconds() != 5 {
			t.Fatalf("%q is read as %q, retry %v; want %q", got, s.events, s.retry, want)
		}
		// Half an event is none, wherever the connection breaks.
		for cut := range got {
			if s := parse(string(got[:cut])); len(s.events) != 0 {
				t.Fatalf("%q is read as %q", got[:cut], s.events)
			}
		}
		// Two events are two.
		if s := parse(string(tr.AppendFrame(got, p))); len(s.events) != 2 {
			t.Fatalf("twice is read as %q", s.events)
		}
	})
}

// An event for many clients is made once, in a buffer that is used again.
func TestEventAllocatesNothing(t *testing.T) {
	tr, dst := new(Transport), make([]byte, 0, 4096)
	for _, p := range []wire.Payload{
		{ID: "id", Event: "news", Data: []byte("a\r\nb\rc\nd")},
		{ID: "id", Event: "news", Data: []byte("\x00\xff"), Kind: message.Binary},
	} {
		if n := testing.AllocsPerRun(100, func() { dst = tr.AppendFrame(dst[:0], p) }); n != 0 {
			t.Errorf("%v: %v allocations", p.Kind, n)
		}
	}
}
