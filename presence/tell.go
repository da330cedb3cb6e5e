package presence

import (
	"bytes"
	"context"
	"errors"
	"sort"
	"time"

	"go.uber.org/zap"

	"belfry/message"
)

// listTopics goes on with the recount, Rate topics at a time.
func (a *Announcer) listTopics() {
	a.mu.Lock()
	going, after := a.recount, a.after
	room := min(a.opt.Rate, MaxPage, waitingPerRate*a.opt.Rate-len(a.queue))
	a.mu.Unlock()
	if !going || room <= 0 {
		return
	}
	ctx, cancel := context.WithTimeout(a.stop, a.opt.Wait)
	defer cancel()
	list, more, err := a.opt.Reader.opt.Local.Topics(ctx, "", after, room)
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil || a.after != after { // the next round tries again; or another node is gone
		return
	}
	a.recount = more && len(list) > 0
	for _, t := range list {
		a.after = t.Topic
		if !a.opt.Match(t.Topic) {
			continue
		}
		if n := a.news(t.Topic); n != nil && len(n.changes) == 0 && !n.due {
			n.due, n.here = true, true
		}
	}
}

// tell tells of topics. It reports whether more waits.
func (a *Announcer) tell(list []piece) (more bool) {
	if len(list) > 0 {
		topics := make([]string, len(list))
		for i := range list {
			topics[i] = list[i].topic
		}
		ctx, cancel := context.WithTimeout(a.stop, a.opt.Wait)
		counts, reach, err := a.opt.Reader.Counts(ctx, topics)
		cancel()
		if err != nil {
			a.opt.Log.Debug("subscribers not counted", zap.Error(err))
			counts, reach.Silent = make([]int, len(list)), []Silent{{}}
		}
		for i := range list {
			a.tellTopic(&list[i], counts[i], &reach)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.queue) > 0 || a.recount
}

// tellTopic tells of one topic.
func (a *Announcer) tellTopic(p *piece, count int, reach *Reach) {
	partial := len(reach.Silent) > 0
	if count == 0 && !partial {
		return // there is nobody to tell
	}
	joined, left := p.members()
	join, err1 := a.text(message.MemberJoin, &membersNews{count, partial, joined})
	leave, err2 := a.text(message.MemberLeave, &membersNews{count, partial, left})
	err := errors.Join(err1, err2)
	switch {
	case err != nil:
	case p.due || count > a.opt.Members || max(len(join), len(leave)) > a.opt.Bytes:
		err = a.tellCount(p, count, reach)
	default:
		if err = a.send(a.opt.Publish, p.topic, message.MemberLeave, leave); err == nil {
			err = a.send(a.opt.Publish, p.topic, message.MemberJoin, join)
		}
	}
	if err != nil && a.stop.Err() == nil { // who it was is lost; the count is told later
		a.failed.Add(1)
		a.again(p)
		a.opt.Log.Debug("join and leave not told", zap.String("topic", p.topic), zap.Error(err))
	}
}

// tellCount tells how many subscribers a topic has.
func (a *Announcer) tellCount(p *piece, count int, reach *Reach) error {
	send := a.opt.Publish
	if p.here {
		send = a.opt.Deliver
	}
	text, err := a.text(message.MemberCount, &membersNews{Count: count, Partial: len(reach.Silent) > 0})
	if err != nil {
		return err
	}
	a.rest(p.topic, count, max(reach.Nodes, 1), p.here)
	return a.send(send, p.topic, message.MemberCount, text)
}

// rest has a large topic rest after its count was told. All nodes that tell of it take
// part, so the rest grows with their number. A count for this node only needs no rest:
// it comes once for each node that is gone.
func (a *Announcer) rest(topic string, count, nodes int, here bool) {
	if here {
		return
	}
	each := max(pause, time.Duration(count)*time.Second/restedPerSecond)
	a.mu.Lock()
	defer a.mu.Unlock()
	if n := a.news(topic); n != nil {
		n.rest = time.Now().Add(min(each*time.Duration(nodes), maxRest))
	}
}

// again has the count of a topic told later.
func (a *Announcer) again(p *piece) {
	a.mu.Lock()
	defer a.mu.Unlock()
	n := a.news(p.topic)
	if n == nil {
		a.dropped.Add(1)
		return
	}
	n.here = p.here && (n.here || len(n.changes) == 0 && !n.due)
	n.due, n.changes = true, nil
}

// members returns the changes as lists, in the order of the ids.
func (p *piece) members() (joined, left []Member) {
	for sid, c := range p.changes {
		if m := (Member{sid, c.uid}); c.joined {
			joined = append(joined, m)
		} else {
			left = append(left, m)
		}
	}
	for _, list := range [][]Member{joined, left} {
		sort.Slice(list, func(i, j int) bool { return list[i].SID < list[j].SID })
	}
	return joined, left
}

// membersNews is the payload of a message. docs/protocol.md describes it.
type membersNews struct {
	Count   int      `json:"count"`
	Partial bool     `json:"partial,omitempty"` // some nodes did not answer: the count is too low
	Members []Member `json:"members,omitempty"`
}

// text returns the payload of a message. It is nil for a list without members.
func (a *Announcer) text(kind message.Membership, news *membersNews) ([]byte, error) {
	if kind != message.MemberCount && len(news.Members) == 0 {
		return nil, nil
	}
	p, err := encode(news)
	return bytes.TrimSuffix(p, []byte("\n")), err
}

// send sends a message to the subscribers of a topic, if there is a text.
func (a *Announcer) send(to func(*message.Message) error, topic string, kind message.Membership, text []byte) error {
	if text == nil {
		return nil
	}
	err := to(&message.Message{Target: message.ToTopics(topic), Kind: message.Text, Membership: kind, Payload: text})
	if err == nil {
		a.told[kind].Add(1)
	}
	return err
}
