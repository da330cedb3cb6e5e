package session

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	gobwas "github.com/gobwas/ws"
	"golang.org/x/sys/unix"

	"belfry/message"
	"belfry/poller"
)

// message sends one. With queue it waits for a fan-out run even if its topics are so
// small that it would be sent at once.
func (m *machine) message(o op, to message.Target, queue bool) {
	msg := &messageModel{scope: to.Scope, names: to.Names, must: map[*actor]map[string]bool{}, may: map[*actor]bool{}}
	msg.target = fmt.Sprint(to.Scope, to.Names)
	push := &message.Message{Target: to, Payload: []byte("m" + strconv.Itoa(len(m.sent)))}
	if msg.not = m.live(o, actorOpen); o.Flag && msg.not != nil {
		push.Target.Exclude = msg.not.sid
	} else {
		msg.not = nil
	}
	m.sent = append(m.sent, msg)
	m.expect(msg)
	d, _ := m.h.srv.Prepare(push)
	d.left.Store(1)
	msg.d = d
	if to.Scope != message.ScopeUsers && !m.h.ps.Reserve(poller.QueueBulk) {
		m.fail("no place in the bulk queue")
		return
	}
	before := len(m.h.fanout.waiting)
	if queue && to.Scope == message.ScopeTopics {
		m.queue(d, to.Names)
	} else {
		m.h.dispatcher.dispatch(d)
	}
	if msg.done = len(m.h.fanout.waiting) == before; msg.done {
		return
	}
	for _, name := range unique(to.Names) {
		if t := m.topics[name]; t != nil {
			t.queued++
		}
	}
}

func unique(names []string) []string {
	names = slices.Clone(names)
	slices.Sort(names)
	return slices.Compact(names)
}

// queue does as sendToTopics does for large topics.
func (m *machine) queue(d *Delivery, names []string) {
	q := fanoutItem{d: d, queue: poller.QueueBulk}
	for _, name := range unique(names) {
		if t, ok := m.h.topics.find(name); ok {
			q.topics = append(q.topics, t)
			m.h.topics.at(t).queued++
		}
	}
	if q.topics == nil {
		m.h.ps.Release(poller.QueueBulk, 1)
		return
	}
	m.h.fanout.add(q)
}

// expect enters who is to get a message.
func (m *machine) expect(msg *messageModel) {
	for _, a := range m.actors {
		held := map[string]bool{}
		switch msg.scope {
		case message.ScopeAll:
			held["all"] = true
		case message.ScopeTopics:
			for _, name := range msg.names {
				if a.topics[name] {
					held[name] = true
				}
			}
		case message.ScopeUsers:
			if a.uid != "" && slices.Contains(msg.names, a.uid) {
				held[a.uid] = true
			}
		}
		if len(held) == 0 || a.state == actorOut {
			continue
		}
		msg.may[a] = true
		if a.state == actorOpen && a != msg.not {
			msg.must[a] = held
		}
	}
}

// step makes so many visits of a fan-out run, and ends the run if no session is left.
func (m *machine) step(visits int) (more bool) {
	p := &m.h.fanout
	defer m.h.ps.Submit()
	if !p.active && !p.begin() {
		return false
	}
	for range visits {
		slot, ok := p.next(m.h.ps)
		if ok {
			p.visit(slot)
			continue
		}
		for _, q := range p.current {
			for _, msg := range m.sent {
				if msg.d != q.d {
					continue
				}
				msg.done = true
				for _, name := range unique(msg.names) {
					if t := m.topics[name]; t != nil && slices.ContainsFunc(q.topics, func(n uint32) bool { return m.h.topics.token(n) == t.token }) {
						t.queued--
					}
				}
			}
		}
		p.finish()
		p.flushCounters()
		return true
	}
	return true
}

// receive reads what a connection was sent.
func (m *machine) receive(a *actor) {
	var all []byte
	buf := make([]byte, 64<<10)
	for {
		n, err := unix.Read(a.peer, buf)
		if n <= 0 || err != nil {
			break
		}
		all = append(all, buf[:n]...)
	}
	for r := bytes.NewReader(all); r.Len() > 0; {
		f, err := readFrame(r)
		if err != nil {
			if bytes.HasPrefix(all, []byte("HTTP/1.1 429")) {
				return
			}
			m.fail("session %d: %v in %q", a.slot, err, all)
			return
		}
		if f.Header.OpCode != gobwas.OpText {
			continue
		}
		text := string(f.Payload)
		if a.v1 {
			var o struct{ Type, Data string }
			if err := json.Unmarshal(f.Payload, &o); err != nil {
				m.fail("%v: %q", err, text)
			}
			if o.Type != "msg" {
				continue
			}
			text = o.Data
		}
		n, err := strconv.Atoi(strings.TrimPrefix(text, "m"))
		if err != nil || n >= len(m.sent) {
			m.fail("session %d got %q", a.slot, text)
			return
		}
		a.got = append(a.got, n)
	}
}

// checkReceipts compares what arrived with what had to and what might.
func (m *machine) checkReceipts() {
	for _, a := range m.actors {
		m.receive(a)
		last := map[string]int{}
		for i, n := range a.got {
			msg := m.sent[n]
			if slices.Contains(a.got[:i], n) {
				m.fail("session %d got message %d twice: %v", a.slot, n, a.got)
			}
			if !msg.may[a] || msg.not == a {
				m.fail("session %d got message %d, which is not for it", a.slot, n)
			}
			if before, ok := last[msg.target]; ok && before > n {
				m.fail("session %d got %d after %d, both to %s", a.slot, n, before, msg.target)
			}
			last[msg.target] = n
		}
	}
	for n, msg := range m.sent {
		if !msg.done {
			m.fail("message %d was never done", n)
		}
		for a := range msg.must {
			if !slices.Contains(a.got, n) {
				m.fail("session %d did not get message %d to %s: %v", a.slot, n, msg.target, a.got)
			}
		}
	}
}
