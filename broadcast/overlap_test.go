package broadcast

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"belfry/message"
)

// secured starts a NATS server with TLS, which also takes clients without it.
func secured(t *testing.T, files TLS) *server.Server {
	t.Helper()
	config, err := serverTLS(files)
	if err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: freePort(t), NoLog: true, NoSigs: true,
		TLSConfig: config, TLSTimeout: 10, AllowNonTLS: true})
	if err != nil {
		t.Fatal(err)
	}
	go s.Start()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("NATS server not ready")
	}
	t.Cleanup(func() { kill(s) })
	return s
}

// joins has next join and go on as m.
func (m *member) joins(t *testing.T, next *member) {
	t.Helper()
	if !m.Overlaps() {
		t.Fatal("a connection with TLS can be passed on")
	}
	token, err := m.Expect()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if err := next.Join(ctx, token); err != nil {
		t.Fatal(err)
	}
	m.takeOver(t, next)
}

// A node with TLS to NATS is handed over again and again while a plain client, another
// node and the node itself publish. Each message arrives once and in order.
func TestHandedOverWithTLS(t *testing.T) {
	files := certificates(t)
	s := secured(t, files)
	plain, secure := "nats://"+s.Addr().String(), "tls://"+s.Addr().String()
	other := open(t, Options{NodeName: "other", URLs: []string{plain}, Beacon: 20 * time.Millisecond})
	o := Options{NodeName: "a", URLs: []string{secure}, TLS: files, Beacon: 20 * time.Millisecond}
	m := open(t, o)
	topics := []string{"news", "sport", "same"}
	for _, topic := range topics {
		m.topic(t, topic)
	}
	m.user(t, "bob")
	eventually(t, "peers", func() bool { return m.Stats().Peers == 1 && other.Stats().Peers == 1 && m.whole() })
	var f traffic
	f.start(t, plain, other)
	defer func() { f.stop.Store(true); f.wg.Wait() }()
	var same steady // messages that cannot be told apart
	nc := client(t, plain)
	same.start(func(string) error { return nc.Publish("belfry.topic.same", []byte("tick")) })
	defer func() { same.stop.Store(true); same.wg.Wait() }()

	parts, own := []*member{m}, 0
	for range 10 {
		for range 20 {
			own++
			m.publish(t, message.ToAll(), fmt.Sprint("own ", own))
		}
		next := openHeld(t, o, topics...)
		m.joins(t, next)
		if next.Ready() != nil || next.away() || next.Stats().Peers != 1 {
			t.Errorf("the next node is not ready, or knows no peer: %v", next.Ready())
		}
		m, parts = next, append(parts, next)
	}
	f.stop.Store(true)
	same.stop.Store(true)
	f.wg.Wait()
	same.wg.Wait()
	got := func(name string) (out []string) {
		for _, p := range parts {
			out = append(out, p.payloads(name)...)
		}
		return out
	}
	for _, name := range []string{"", "news", "bob"} {
		eventually(t, "all messages to "+name, func() bool {
			return count(t, got(name), "node") == f.ofNode && count(t, got(name), "plain") == f.plain
		})
	}
	eventually(t, "all own messages", func() bool {
		return count(t, other.payloads(""), "own") == own && count(t, got(""), "own") == own
	})
	if err := nc.Flush(); err != nil {
		t.Fatal(err)
	}
	near := func() bool { // each hand-over may lose or double one that comes in the same microsecond as the marker
		n := len(got("same"))
		return len(same.sent)-10 <= n && n <= len(same.sent)+10
	}
	eventually(t, "messages without a difference", near)
	for i, p := range parts {
		if s := p.Stats(); s.Gaps+s.LostShutdown+s.LostUnconfirmed+s.DuplicateNodes+s.Reconnects+s.Malformed+s.Faults+s.LostReceive != 0 {
			t.Errorf("process %d: %+v", i, s)
		}
	}
	if s := other.Stats(); s.Gaps+s.DuplicateNodes+s.Duplicates+s.Faults != 0 {
		t.Errorf("the other node: %+v", s)
	}
	t.Logf("%d messages of a plain client, %d of a node, %d own, %d of %d without a difference",
		f.plain*3, f.ofNode*3, own, len(got("same")), len(same.sent))
}

// What the process before received is dropped, also if the marker overtook it; other
// messages are not, even if they are like one of those.
func TestFilter(t *testing.T) {
	msg := func(text string) *nats.Msg { return &nats.Msg{Subject: subjectAll, Data: []byte(text)} }
	b := &NATS{}
	b.passing.record.Store(newRecord("token"))
	marker := &nats.Msg{Subject: subjectAll, Header: nats.Header{headerProbe: {markerBegin + "token"}}}
	for _, m := range []*nats.Msg{msg("late"), msg("tick"), marker, msg("both"), msg("tick"), {Subject: subjectAll, Data: []byte("both"), Header: nats.Header{"A": {"1"}}}} {
		b.came(0, m)
	}
	s, err := b.overlapped()
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	f := &filter{token: "token", self: 7, before: s.Before[0], since: s.Since[0], early: map[uint64]int{digest("token", msg("tick")): 1}, until: now.Add(lateWait)}
	for i, c := range []struct {
		m    *nats.Msg
		pass bool
	}{
		{msg("late"), false}, {msg("late"), true}, {msg("both"), false}, {msg("both"), true},
		{msg("tick"), false}, {msg("tick"), true}, {msg("new"), true},
		{&nats.Msg{Subject: subjectAll, Data: []byte("x"), Header: nats.Header{headerNode: {nodeString(7)}}}, false},
	} {
		if got := passes(&f, c.m, now); got != c.pass {
			t.Errorf("%d: %q passes: %v", i, c.m.Data, got)
		}
	}
	if !passes(&f, &nats.Msg{Subject: subjectAll, Data: []byte("both"), Header: nats.Header{"A": {"1"}}}, now.Add(2*lateWait)) || f != nil {
		t.Error("the filter does not end")
	}
}

// A successor that joined and does not come harms nothing: the node goes on, and can be
// handed over later.
func TestJoinedInVain(t *testing.T) {
	files := certificates(t)
	s := secured(t, files)
	o := Options{NodeName: "a", URLs: []string{"tls://" + s.Addr().String()}, TLS: files}
	m := open(t, o)
	eventually(t, "ready", m.whole)
	nc := client(t, "nats://"+s.Addr().String())
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if _, err := m.Expect(); err != nil {
		t.Fatal(err)
	}
	m.Resume() // nobody joins
	if _, _, err := m.HandOver(ctx); err != nil {
		t.Fatal(err)
	}
	m.Resume()
	token, err := m.Expect()
	if err != nil {
		t.Fatal(err)
	}
	first := openHeld(t, o)
	if err := first.Join(ctx, token); err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.HandOver(ctx); err != nil {
		t.Fatal(err)
	}
	send(t, nc, &nats.Msg{Subject: subjectAll, Data: []byte("plain 1")})
	first.Close()
	m.Resume()
	eventually(t, "a message", func() bool { return count(t, m.payloads(""), "plain") == 1 })
	second := openHeld(t, o)
	m.joins(t, second)
	send(t, nc, &nats.Msg{Subject: subjectAll, Data: []byte("plain 2")})
	eventually(t, "a message", func() bool { return len(second.payloads("")) == 1 })

	third := openHeld(t, o)
	if err := third.Join(ctx, "token"); err != nil {
		t.Fatal(err)
	}
	h, fds, err := second.HandOver(ctx)
	if err != nil || len(fds) > 0 {
		t.Fatal(err, fds)
	}
	if err := third.Take(h, fds); err == nil || !strings.Contains(err.Error(), "Expect") {
		t.Errorf("Take without Expect: %v", err)
	}
}
