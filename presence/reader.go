package presence

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"belfry/broadcast"
	"belfry/message"
)

// Kinds of commands with which nodes ask each other. docs/bus.md describes them.
const (
	kindUser    = "read.user"
	kindUsers   = "read.users"
	kindSession = "read.session"
	kindTopic   = "read.topic"
	kindTopics  = "read.topics"
	kindCounts  = "read.counts"
	kindNode    = "read.node"
)

// Options are what a Reader works with. Degraded, Holders and Members may be nil.
type Options struct {
	Self     broadcast.Peer
	Local    Local
	Control  *broadcast.Control
	Holders  Holders           // nil: every node may hold every user
	Members  func() []Sighting // nil: this node and Control.Peers, which are alive
	Degraded func() []string   // why there may be nodes that are not known
}

// Reader reads what all nodes have. Its methods may be called from any goroutine, and
// wait for other nodes until ctx is done. A node that does not answer in time is in
// Reach.Silent; that is no error.
type Reader struct{ opt Options }

// New makes a Reader and has Control answer the questions of other nodes. It is called
// before the bus starts.
func New(o Options) *Reader {
	r := &Reader{o}
	r.serve()
	return r
}

// question is the body of every ask.
type question struct {
	UID     string   `json:"uid,omitempty"`
	UIDs    []string `json:"uids,omitempty"`
	SID     string   `json:"sid,omitempty"`
	Topic   string   `json:"topic,omitempty"`
	Topics  []string `json:"topics,omitempty"`
	Prefix  string   `json:"prefix,omitempty"`
	After   string   `json:"after,omitempty"`
	Limit   int      `json:"limit,omitempty"` // 0: no items are wanted
	Members bool     `json:"members,omitempty"`
}

// AskHolders asks the nodes that hold sessions of a user, but this one. If no session
// is known it asks all nodes.
func (r *Reader) AskHolders(ctx context.Context, uid, kind string, body []byte) []broadcast.Answer {
	if held := r.holders(ctx, []string{uid}); !held[0].nobody() {
		return r.askEach(ctx, held[0].Nodes, kind, body)
	}
	return r.opt.Control.AskAll(ctx, kind, body)
}

// holders returns who holds the sessions of users, in their order.
func (r *Reader) holders(ctx context.Context, uids []string) []Held {
	if r.opt.Holders != nil {
		return r.opt.Holders.Holders(ctx, uids)
	}
	held := make([]Held, len(uids))
	for i := range held {
		held[i].Unknown = true
	}
	return held
}

// askEach asks some nodes at the same time.
func (r *Reader) askEach(ctx context.Context, nodes []broadcast.Peer, kind string, body []byte) []broadcast.Answer {
	answers := make([]broadcast.Answer, len(nodes))
	var wg sync.WaitGroup
	for i, p := range nodes {
		wg.Go(func() {
			body, err := r.opt.Control.Ask(ctx, p.ID, kind, body)
			answers[i] = broadcast.Answer{Peer: p, Body: body, Err: err}
		})
	}
	wg.Wait()
	return answers
}

// gather answers a question on this node while ask asks the others, and returns every
// answer that came.
func gather[T any](ctx context.Context, r *Reader, q *question, here func(context.Context, *question) (*T, error), ask func(body []byte) []broadcast.Answer) (all []*T, reach Reach, err error) {
	body, err := encode(q)
	if err != nil {
		return nil, reach, err
	}
	others := make(chan []broadcast.Answer, 1)
	go func() { others <- ask(body) }()
	own, err := here(ctx, q)
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		reach.silent(r.opt.Self.Name, "a shard did not answer in time")
	case err != nil:
		reach.silent(r.opt.Self.Name, err.Error())
	default:
		all = append(all, own)
	}
	for _, a := range <-others {
		answer := new(T)
		if a.Err == nil {
			a.Err = json.Unmarshal(a.Body, answer)
		}
		if a.Err != nil {
			reach.silent(a.Name, detail(a.Err))
			continue
		}
		all = append(all, answer)
	}
	reach.Nodes = len(all)
	if r.opt.Degraded != nil {
		reach.Degraded = r.opt.Degraded()
	}
	return all, reach, nil
}

func (r *Reach) silent(node, detail string) { r.Silent = append(r.Silent, Silent{node, detail}) }

// detail returns the text of an error without the name of the node.
func detail(err error) string {
	if refused, ok := errors.AsType[*broadcast.RefusedError](err); ok {
		return refused.Detail
	}
	return err.Error()
}

// User returns a user, with at most limit of the sessions behind the one with the id
// after; "" is the beginning.
func (r *Reader) User(ctx context.Context, uid, after string, limit int) (*User, error) {
	q := &question{UID: uid, After: after, Limit: limit}
	all, reach, err := gather(ctx, r, q, r.user, func(body []byte) []broadcast.Answer { return r.AskHolders(ctx, uid, kindUser, body) })
	if err != nil {
		return nil, err
	}
	u := &User{UID: uid, Reach: reach}
	var parts []part[Session]
	for _, a := range all {
		u.Count += a.Count
		u.LastSeen = later(u.LastSeen, seconds(a.Seen))
		parts = append(parts, part[Session]{a.Sessions, a.More})
	}
	if u.Count > 0 {
		u.LastSeen = time.Time{}
	}
	more := false
	u.Sessions, more = merge(parts, limit, func(a, b *Session) int { return compareSIDs(a.SID, b.SID) }, nil)
	if u.Sessions == nil {
		u.Sessions = []Session{} // [] in JSON
	}
	if more && len(u.Sessions) > 0 {
		u.Next = u.Sessions[len(u.Sessions)-1].SID
	}
	return u, nil
}

// Session returns a session, nil if it is not open. Only its node is asked. silent is
// set if that node did not answer, or is not there.
func (r *Reader) Session(ctx context.Context, sid string) (s *Session, silent *Silent, err error) {
	id, err := message.NodeOf(sid)
	if err != nil {
		return nil, nil, err
	}
	if id == r.opt.Self.ID {
		s, err = r.opt.Local.Session(ctx, sid)
		if err != nil {
			return nil, &Silent{r.opt.Self.Name, "a shard did not answer in time"}, nil
		}
		return s, nil, nil
	}
	at := slices.IndexFunc(r.opt.Control.Peers(), func(p broadcast.Peer) bool { return p.ID == id })
	if at < 0 {
		return nil, &Silent{fmt.Sprintf("%08x", id), "the node of this session is not there; if it has ended, so has the session"}, nil
	}
	peer := r.opt.Control.Peers()[at]
	body, err := encode(&question{SID: sid})
	if err != nil {
		return nil, nil, err
	}
	var answer sessionAnswer
	body, err = r.opt.Control.Ask(ctx, id, kindSession, body)
	if err == nil {
		err = json.Unmarshal(body, &answer)
	}
	if err != nil {
		return nil, &Silent{peer.Name, detail(err)}, nil
	}
	return answer.Session, nil, nil
}

// Topic returns a topic, with at most limit of its members behind the one with the id
// after if limit is not 0.
func (r *Reader) Topic(ctx context.Context, topic string, members bool, after string, limit int) (*Topic, error) {
	q := &question{Topic: topic, After: after, Limit: limit, Members: members}
	all, reach, err := gather(ctx, r, q, r.topic, func(body []byte) []broadcast.Answer { return r.opt.Control.AskAll(ctx, kindTopic, body) })
	if err != nil {
		return nil, err
	}
	t := &Topic{Topic: topic, Reach: reach}
	var parts []part[Member]
	for _, a := range all {
		t.Count += a.Count
		parts = append(parts, part[Member]{a.Members, a.More})
	}
	more := false
	t.Members, more = merge(parts, limit, func(a, b *Member) int { return compareSIDs(a.SID, b.SID) }, nil)
	if more && len(t.Members) > 0 {
		t.Next = t.Members[len(t.Members)-1].SID
	}
	return t, nil
}

// Topics returns the first topics behind the name after that begin with prefix.
func (r *Reader) Topics(ctx context.Context, prefix, after string, limit int) (*Topics, error) {
	q := &question{Prefix: prefix, After: after, Limit: limit}
	all, reach, err := gather(ctx, r, q, r.topics, func(body []byte) []broadcast.Answer { return r.opt.Control.AskAll(ctx, kindTopics, body) })
	if err != nil {
		return nil, err
	}
	var parts []part[TopicCount]
	for _, a := range all {
		parts = append(parts, part[TopicCount]{a.Topics, a.More})
	}
	t, more := &Topics{Reach: reach}, false
	t.Topics, more = merge(parts, limit, func(a, b *TopicCount) int { return strings.Compare(a.Topic, b.Topic) },
		func(to *TopicCount, from *TopicCount) { to.Count += from.Count })
	if t.Topics == nil {
		t.Topics = []TopicCount{}
	}
	if more && len(t.Topics) > 0 {
		t.Next = t.Topics[len(t.Topics)-1].Topic
	}
	return t, nil
}

// compareSIDs orders session ids. Ids that are not valid, which no node sends, come
// first.
func compareSIDs(a, b string) int {
	x, _ := message.DecodeSID(a)
	y, _ := message.DecodeSID(b)
	return x.Compare(y)
}

// seconds returns the time of Unix seconds, zero for 0.
func seconds(unix int64) time.Time {
	if unix == 0 {
		return time.Time{}
	}
	return time.Unix(unix, 0).UTC()
}

// unix is the reverse of seconds.
func unix(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
