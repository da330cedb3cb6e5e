package push

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"belfry/message"
	"belfry/message/strictjson"
	"belfry/presence"
)

// Presence reads who is online and who is subscribed to what, on every node. Its methods
// may be called from any goroutine, and wait for other nodes until ctx is done. after is
// the last item of the page before, "" for the first page. A *message.FieldError is
// shown to the client (400); any other error is logged and answered with a 500. A
// presence.Reader is one.
type Presence interface {
	User(ctx context.Context, uid, after string, limit int) (*presence.User, error)
	Users(ctx context.Context, uids []string) (*presence.Users, error)
	// Session returns nil if there is no such session, or if silent is not nil.
	Session(ctx context.Context, sid string) (s *presence.Session, silent *presence.Silent, err error)
	Topic(ctx context.Context, topic string, members bool, after string, limit int) (*presence.Topic, error)
	Topics(ctx context.Context, prefix, after string, limit int) (*presence.Topics, error)
	Nodes(ctx context.Context) (*presence.Nodes, error)
}

// maxPresenceBody limits the body of a question about many users, in bytes: the longest
// uids fit, each byte written as an escape.
const maxPresenceBody = 1 << 20

// presenceRoutes returns the routes that read sessions.
func (s *Server) presenceRoutes() []route {
	return []route{
		{routeUserRead, http.MethodGet, "/v1/users/{uid}", accessKeyed, s.reading(s.readUser, "limit", "after")},
		{routeSessionRead, http.MethodGet, "/v1/sessions/{sid}", accessKeyed, s.reading(s.readSession)},
		{routeTopicRead, http.MethodGet, "/v1/topics/{topic}", accessKeyed, s.reading(s.readTopic, "members", "limit", "after")},
		{routeTopicList, http.MethodGet, "/v1/topics", accessKeyed, s.reading(s.readTopics, "prefix", "limit", "after")},
		{routeNodes, http.MethodGet, "/v1/nodes", accessKeyed, s.reading(s.readNodes)},
		{routePresence, http.MethodPost, "/v1/presence", accessPush, s.readPresence},
	}
}

// read returns what a request asks for, as a value for JSON.
type read func(ctx context.Context, r *http.Request, p url.Values) (any, error)

// problemError is an error that is a problem already.
type problemError struct{ *problem }

func (e problemError) Error() string { return e.detail }

// reading returns the handle of a read. parameters are those that the query may have.
func (s *Server) reading(do read, parameters ...string) handle {
	return func(w http.ResponseWriter, r *http.Request, _ call) int {
		values, p := parseQuery(r.URL.RawQuery, parameters...)
		if p != nil {
			return s.refuse(w, p)
		}
		return s.answerRead(w, func(ctx context.Context) (any, error) { return do(ctx, r, values) })
	}
}

// answerRead answers with what do returns. The place of the request is free before the
// client reads the answer.
func (s *Server) answerRead(w http.ResponseWriter, do func(ctx context.Context) (any, error)) int {
	body, err := func() ([]byte, error) {
		defer s.leave()
		if p := s.enter(); p != nil {
			return nil, problemError{p}
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.opt.NodesWait)
		defer cancel()
		v, err := do(ctx)
		if err != nil {
			return nil, err
		}
		return json.Marshal(v)
	}()
	if err != nil {
		return s.refuse(w, s.readProblem(err))
	}
	return writeJSON(w, http.StatusOK, append(body, '\n'))
}

// readProblem returns the problem for an error of a read.
func (s *Server) readProblem(err error) *problem {
	if p, ok := errors.AsType[problemError](err); ok {
		return p.problem
	}
	if element, ok := errors.AsType[*strictjson.ElementError](err); ok {
		return &problem{cause: CauseField, field: element.Field(), detail: element.Err.Detail}
	}
	if invalid, ok := errors.AsType[*message.FieldError](err); ok {
		return fieldProblem(invalid)
	}
	return s.internal("sessions could not be read", err)
}

// limit returns ?limit=.
func limit(p url.Values) (int, error) {
	if !p.Has("limit") {
		return presence.MaxPage, nil
	}
	n, err := strconv.Atoi(p.Get("limit"))
	if err != nil || n < 1 || n > presence.MaxPage {
		return 0, &message.FieldError{Field: "limit", Detail: fmt.Sprintf("%q; allowed are 1 to %d", p.Get("limit"), presence.MaxPage)}
	}
	return n, nil
}

// afterSession returns ?after= and ?limit= of a list of sessions.
func afterSession(p url.Values) (after string, most int, err error) {
	if p.Has("after") {
		after = p.Get("after")
		if err := message.CheckSID(after); err != nil {
			return "", 0, message.Renamed(err, "after")
		}
	}
	most, err = limit(p)
	return after, most, err
}

func (s *Server) readUser(ctx context.Context, r *http.Request, p url.Values) (any, error) {
	uid := r.PathValue("uid")
	if err := message.CheckUID(uid); err != nil {
		return nil, err
	}
	after, most, err := afterSession(p)
	if err != nil {
		return nil, err
	}
	return s.opt.Presence.User(ctx, uid, after, most)
}

func (s *Server) readSession(ctx context.Context, r *http.Request, _ url.Values) (any, error) {
	sid := r.PathValue("sid")
	if err := message.CheckSID(sid); err != nil {
		return nil, message.Renamed(err, "sid")
	}
	found, silent, err := s.opt.Presence.Session(ctx, sid)
	switch {
	case err != nil:
		return nil, err
	case silent != nil:
		return nil, problemError{&problem{cause: CauseSilent, detail: "node " + silent.Node + ": " + silent.Detail}}
	case found == nil:
		return nil, problemError{&problem{cause: CauseNoSession, detail: "the session has ended, or never existed"}}
	}
	return found, nil
}

func (s *Server) readTopic(ctx context.Context, r *http.Request, p url.Values) (any, error) {
	topic := r.PathValue("topic")
	if err := message.CheckTopic(topic); err != nil {
		return nil, err
	}
	members := p.Get("members") == "1"
	if p.Has("members") && !members {
		return nil, &message.FieldError{Field: "members", Detail: fmt.Sprintf("%q; allowed is 1", p.Get("members"))}
	}
	if !members && (p.Has("after") || p.Has("limit")) {
		return nil, &message.FieldError{Field: "members", Detail: "missing; after and limit are about the members: members=1"}
	}
	after, most, err := afterSession(p)
	if err != nil {
		return nil, err
	}
	return s.opt.Presence.Topic(ctx, topic, members, after, most)
}

func (s *Server) readTopics(ctx context.Context, _ *http.Request, p url.Values) (any, error) {
	prefix := p.Get("prefix")
	if prefix != "" {
		// What is a topic when something follows is a prefix of one.
		if err := message.CheckTopic(strings.TrimSuffix(prefix, ".")); err != nil || len(prefix) > message.MaxTopicLen {
			return nil, &message.FieldError{Field: "prefix", Detail: fmt.Sprintf("%q; allowed is the beginning of a topic, such as chat.", strictjson.Shorten(prefix))}
		}
	}
	after := p.Get("after")
	if after != "" {
		if err := message.CheckTopic(after); err != nil {
			return nil, message.Renamed(err, "after")
		}
	}
	most, err := limit(p)
	if err != nil {
		return nil, err
	}
	return s.opt.Presence.Topics(ctx, prefix, after, most)
}

func (s *Server) readNodes(ctx context.Context, _ *http.Request, _ url.Values) (any, error) {
	return s.opt.Presence.Nodes(ctx)
}

// readPresence serves POST /v1/presence.
func (s *Server) readPresence(w http.ResponseWriter, r *http.Request, c call) int {
	object, p := s.readObject(w, r, c, maxPresenceBody)
	if p != nil {
		return s.refuse(w, p)
	}
	uids, err := users(object)
	if err != nil {
		return s.refuse(w, s.readProblem(err))
	}
	return s.answerRead(w, func(ctx context.Context) (any, error) { return s.opt.Presence.Users(ctx, uids) })
}

// users reads the list of users of a question about many.
func users(body *strictjson.Object) ([]string, error) {
	const field = "users"
	if err := only(body, field, field); err != nil {
		return nil, err
	}
	v := body.Value(field)
	if v == nil {
		return nil, &message.FieldError{Field: field, Detail: fmt.Sprintf(`missing; allowed is a list of 1 to %d users, such as {"users":["u1","u2"]}`, presence.MaxUsers)}
	}
	list, err := strictjson.StringList(field, v, presence.MaxUsers)
	if err != nil {
		return nil, err
	}
	if len(list) == 0 {
		return nil, &message.FieldError{Field: field, Detail: fmt.Sprintf("empty; allowed are 1 to %d users", presence.MaxUsers)}
	}
	for i, uid := range list {
		if invalid, ok := errors.AsType[*message.FieldError](message.CheckUID(uid)); ok {
			return nil, &strictjson.ElementError{Err: message.Renamed(invalid, field).(*message.FieldError), Index: i}
		}
	}
	return list, nil
}
