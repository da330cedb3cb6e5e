package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"belfry/broadcast"
	"belfry/message"
)

// Answers to a question, each by the kind of its command.
type (
	userAnswer struct {
		Count    int       `json:"count"`
		Seen     int64     `json:"seen,omitempty"` // Unix seconds; 0: not known
		Sessions []Session `json:"sessions,omitempty"`
		More     bool      `json:"more,omitempty"`
	}
	usersAnswer struct {
		Sessions []int   `json:"sessions"` // of each user
		Seen     []int64 `json:"seen"`     // of each user; as in userAnswer
	}
	sessionAnswer struct {
		Session *Session `json:"session"`
	}
	topicAnswer struct {
		Count   int      `json:"count"`
		Members []Member `json:"members,omitempty"`
		More    bool     `json:"more,omitempty"`
	}
	topicsAnswer struct {
		Topics []TopicCount `json:"topics,omitempty"`
		More   bool         `json:"more,omitempty"`
	}
	nodeAnswer struct {
		At    int64         `json:"at"`   // Unix nanoseconds, by the clock of the node that answers, when it got the question
		Took  time.Duration `json:"took"` // from there to the answer
		State NodeState     `json:"state"`
	}
)

// serve has Control answer the questions of other nodes.
func (r *Reader) serve() {
	handle(r, kindUser, r.user)
	handle(r, kindUsers, r.users)
	handle(r, kindSession, r.session)
	handle(r, kindTopic, r.topic)
	handle(r, kindTopics, r.topics)
	handle(r, kindNode, r.node)
}

func handle[T any](r *Reader, kind string, answer func(context.Context, *question) (*T, error)) {
	r.opt.Control.Handle(kind, func(ctx context.Context, _ broadcast.Peer, body []byte) ([]byte, error) {
		q := new(question)
		if err := json.Unmarshal(body, q); err != nil {
			return nil, fmt.Errorf("malformed question: %w", err)
		}
		q.Limit = max(min(q.Limit, MaxPage), 0)
		a, err := answer(ctx, q)
		if err != nil {
			return nil, err
		}
		return encode(a)
	})
}

// place returns the place behind which a list of sessions is wanted.
func (q *question) place() (after message.SID, err error) {
	if q.After != "" {
		after, err = message.DecodeSID(q.After)
	}
	return after, message.Renamed(err, "after")
}

func (r *Reader) user(ctx context.Context, q *question) (*userAnswer, error) {
	after, err := q.place()
	if err != nil {
		return nil, err
	}
	a := new(userAnswer)
	if a.Sessions, a.Count, a.More, err = r.opt.Local.UserSessions(ctx, q.UID, after, q.Limit); err != nil {
		return nil, err
	}
	if a.Count == 0 {
		one, err := r.opt.Local.Users(ctx, []string{q.UID})
		if err != nil {
			return nil, err
		}
		a.Seen = unix(one[0].LastSeen)
	}
	a.Sessions, a.More, err = fit(a.Sessions, a.More)
	return a, err
}

func (r *Reader) users(ctx context.Context, q *question) (*usersAnswer, error) {
	list, err := r.opt.Local.Users(ctx, q.UIDs)
	if err != nil {
		return nil, err
	}
	a := new(usersAnswer)
	for _, u := range list {
		a.Sessions, a.Seen = append(a.Sessions, u.Sessions), append(a.Seen, unix(u.LastSeen))
	}
	return a, nil
}

func (r *Reader) session(ctx context.Context, q *question) (*sessionAnswer, error) {
	s, err := r.opt.Local.Session(ctx, q.SID)
	return &sessionAnswer{s}, err
}

func (r *Reader) topic(ctx context.Context, q *question) (*topicAnswer, error) {
	a := new(topicAnswer)
	var err error
	if a.Count, err = r.opt.Local.Subscribers(ctx, q.Topic); err != nil || !q.Members {
		return a, err
	}
	after, err := q.place()
	if err != nil {
		return nil, err
	}
	if a.Members, a.More, err = r.opt.Local.Members(ctx, q.Topic, after, q.Limit); err != nil {
		return nil, err
	}
	a.Members, a.More, err = fit(a.Members, a.More)
	return a, err
}

func (r *Reader) topics(ctx context.Context, q *question) (*topicsAnswer, error) {
	a := new(topicsAnswer)
	var err error
	if a.Topics, a.More, err = r.opt.Local.Topics(ctx, q.Prefix, q.After, q.Limit); err != nil {
		return nil, err
	}
	a.Topics, a.More, err = fit(a.Topics, a.More)
	return a, err
}

func (r *Reader) node(ctx context.Context, _ *question) (*nodeAnswer, error) {
	begun := time.Now()
	a := &nodeAnswer{At: begun.UnixNano(), State: r.opt.Local.State(ctx)}
	a.Took = time.Since(begun)
	return a, nil
}
