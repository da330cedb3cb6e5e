package push

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"belfry/message"
	"belfry/message/strictjson"
)

// Sessions ends sessions and changes what they may do, on every node. Its methods
// may be called from any goroutine, and wait for other nodes until ctx is done.
// Doing the same twice does no harm. A *message.FieldError is shown to the client
// (400), and so is a *FullError (507); nothing was changed then. Any other error is
// logged and answered with a 500.
type Sessions interface {
	// ExpireSession ends one session as if its credentials had expired.
	ExpireSession(ctx context.Context, sid string) (Outcome, error)
	// ExpireUser ends the sessions of a user whose credentials were issued before
	// a time, and refuses such credentials from now on.
	ExpireUser(ctx context.Context, uid string, before time.Time) (Outcome, error)
	// ExpireTokens is ExpireUser for everybody.
	ExpireTokens(ctx context.Context, before time.Time) (Outcome, error)
	// PermitSession and PermitUser change what the open sessions may do.
	PermitSession(ctx context.Context, sid string, p Permissions) (Outcome, error)
	PermitUser(ctx context.Context, uid string, p Permissions) (Outcome, error)
	// End ends sessions with a close code.
	End(ctx context.Context, sel Selection, code uint16, reason string) (Outcome, error)
	// Join and Leave begin and end subscriptions to a topic. Outcome.Sessions are those
	// that are subscribed after Join, and that were before Leave.
	Join(ctx context.Context, sel Selection, topic string) (Outcome, error)
	Leave(ctx context.Context, sel Selection, topic string) (Outcome, error)
}

// Selection are open sessions: the one with an id, or, without an id, those of a user.
type Selection struct{ SID, UID string }

// Permissions are the topics that a session may subscribe and publish to, as
// patterns.
type Permissions struct {
	Subscribe, Publish []string
}

// Outcome says what was done.
type Outcome struct {
	Sessions int         // that were ended or changed
	Full     int         // that could not be changed, because they or their node had no room
	Nodes    int         // that answered, this one included
	Failed   []NodeError // nodes that did not do it, as far as this node knows
	Degraded []string    // why there may be nodes that this one does not know of
}

// NodeError says why a node did not do something.
type NodeError struct {
	Node   string // its name, or its id if that is all that is known
	Detail string
}

// FullError refuses a revocation because a list has no more room.
type FullError struct{ Detail string }

func (e *FullError) Error() string { return e.Detail }

// maxCommandBody limits the body of a request about sessions, in bytes.
const maxCommandBody = 64 << 10

// sessionRoutes returns the routes that change sessions.
func (s *Server) sessionRoutes() []route {
	return []route{
		{routeSessionAuth, http.MethodPost, "/v1/sessions/{sid}/auth", accessPush, s.changing(s.sessionAuth)},
		{routeUserExpire, http.MethodPost, "/v1/users/{uid}/expire", accessPush, s.changing(s.userExpire)},
		{routeUserPermissions, http.MethodPost, "/v1/users/{uid}/permissions", accessPush, s.changing(s.userPermissions)},
		{routeTokensExpire, http.MethodPost, "/v1/tokens/expire", accessPush, s.changing(s.tokensExpire)},
		{routeUserEnd, http.MethodDelete, "/v1/users/{uid}", accessKeyed, s.selecting(s.end, "code", "reason")},
		{routeSessionEnd, http.MethodDelete, "/v1/sessions/{sid}", accessKeyed, s.selecting(s.end, "code", "reason")},
		{routeUserJoin, http.MethodPut, "/v1/users/{uid}/topics/{topic}", accessKeyed, s.selecting(s.join)},
		{routeUserLeave, http.MethodDelete, "/v1/users/{uid}/topics/{topic}", accessKeyed, s.selecting(s.leaveTopic)},
		{routeSessionJoin, http.MethodPut, "/v1/sessions/{sid}/topics/{topic}", accessKeyed, s.selecting(s.join)},
		{routeSessionLeave, http.MethodDelete, "/v1/sessions/{sid}/topics/{topic}", accessKeyed, s.selecting(s.leaveTopic)},
	}
}

// change reads the object of a request and does what it says.
type change func(ctx context.Context, r *http.Request, body *strictjson.Object) (Outcome, error)

// changing returns the handle of a change.
func (s *Server) changing(do change) handle {
	return func(w http.ResponseWriter, r *http.Request, c call) int {
		object, p := s.readObject(w, r, c, maxCommandBody)
		if p != nil {
			return s.refuse(w, p)
		}
		defer s.leave()
		if p := s.enter(); p != nil {
			return s.refuse(w, p)
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.opt.NodesWait)
		defer cancel()
		outcome, err := do(ctx, r, object)
		if err != nil {
			return s.refuse(w, s.changeProblem(err))
		}
		return outcome.write(w)
	}
}

// readObject reads the JSON object of a request without parameters, of at most most
// bytes. An empty body is an empty object.
func (s *Server) readObject(w http.ResponseWriter, r *http.Request, c call, most int) (*strictjson.Object, *problem) {
	if p := cmp.Or(noParameters(r.URL.RawQuery), checkCoding(r)); p != nil {
		return nil, p
	}
	body, p := s.readBody(r, c.conn, most)
	if p != nil {
		if p.cause == CauseSlow || p.cause == CauseBody {
			w.Header()["Connection"] = closeConn // the rest of the body may still arrive
		}
		return nil, p
	}
	object := new(strictjson.Object)
	if len(body) > 0 {
		if err := object.Parse(body); err != nil {
			return nil, objectProblem(err)
		}
	}
	return object, nil
}

// objectProblem returns the problem for a body that is not a valid object.
func objectProblem(err error) *problem {
	if _, ok := errors.AsType[*message.FieldError](err); ok {
		return asProblem(err)
	}
	return &problem{cause: CauseField, field: "body", detail: err.Error() + `; allowed is an object such as {"issued_before":"2026-01-31T12:00:00Z"}`}
}

// changeProblem returns the problem for an error of a change.
func (s *Server) changeProblem(err error) *problem {
	if full, ok := errors.AsType[*FullError](err); ok {
		return &problem{cause: CauseRevocations, detail: full.Detail}
	}
	if element, ok := errors.AsType[*strictjson.ElementError](err); ok {
		return &problem{cause: CauseField, field: element.Field(), detail: element.Err.Detail}
	}
	if invalid, ok := errors.AsType[*message.FieldError](err); ok {
		return fieldProblem(invalid)
	}
	return s.internal("sessions could not be changed", err)
}

// write answers 200 if every node has done it, and otherwise 202.
func (o *Outcome) write(w http.ResponseWriter) int {
	status := http.StatusOK
	b := strconv.AppendInt([]byte(`{"sessions":`), int64(o.Sessions), 10)
	if o.Full > 0 {
		status = http.StatusAccepted
		b = strconv.AppendInt(append(b, `,"full":`...), int64(o.Full), 10)
	}
	b = strconv.AppendInt(append(b, `,"nodes":`...), int64(o.Nodes), 10)
	if len(o.Failed) > 0 {
		status = http.StatusAccepted
		for i, f := range o.Failed {
			b = append(b, []string{`,"failed":[`, `,`}[min(i, 1)]...)
			b = strictjson.AppendString(append(b, `{"node":`...), f.Node)
			b = strictjson.AppendString(append(b, `,"detail":`...), f.Detail)
			b = append(b, '}')
		}
		b = append(b, ']')
	}
	if len(o.Degraded) > 0 {
		status = http.StatusAccepted
		b = strictjson.AppendStrings(append(b, `,"degraded":`...), o.Degraded)
	}
	return writeJSON(w, status, append(b, '}', '\n'))
}

// only returns an error for a field that is not one of the allowed ones.
func only(body *strictjson.Object, allowed ...string) error {
	for _, f := range body.Fields() {
		if !slices.Contains(allowed, string(f.Name)) {
			return &message.FieldError{Field: strictjson.Shorten(string(f.Name)), Detail: "unknown; allowed: " + strings.Join(allowed, ", ")}
		}
	}
	return nil
}

// sessionAuth serves POST /v1/sessions/{sid}/auth.
func (s *Server) sessionAuth(ctx context.Context, r *http.Request, body *strictjson.Object) (Outcome, error) {
	sid := r.PathValue("sid")
	if err := message.CheckSID(sid); err != nil {
		return Outcome{}, message.Renamed(err, "sid")
	}
	if err := only(body, "expire", "subscribe", "publish"); err != nil {
		return Outcome{}, err
	}
	if v := body.Value("expire"); v != nil {
		if string(v) != "true" || len(body.Fields()) > 1 {
			return Outcome{}, &message.FieldError{Field: "expire", Detail: "allowed is true, without subscribe and publish: the session ends"}
		}
		return s.opt.Sessions.ExpireSession(ctx, sid)
	}
	p, err := permissions(body)
	if err != nil {
		return Outcome{}, err
	}
	return s.opt.Sessions.PermitSession(ctx, sid, p)
}

// userPermissions serves POST /v1/users/{uid}/permissions.
func (s *Server) userPermissions(ctx context.Context, r *http.Request, body *strictjson.Object) (Outcome, error) {
	uid := r.PathValue("uid")
	if err := message.CheckUID(uid); err != nil {
		return Outcome{}, err
	}
	if err := only(body, "subscribe", "publish"); err != nil {
		return Outcome{}, err
	}
	p, err := permissions(body)
	if err != nil {
		return Outcome{}, err
	}
	return s.opt.Sessions.PermitUser(ctx, uid, p)
}

// permissions reads the lists of patterns. Both must be given: one that is forgotten
// must neither stay nor become empty silently.
func permissions(body *strictjson.Object) (p Permissions, err error) {
	if p.Subscribe, err = patterns(body, "subscribe"); err != nil {
		return p, err
	}
	if p.Publish, err = patterns(body, "publish"); err != nil {
		return p, err
	}
	for field, list := range map[string][]string{"subscribe": p.Subscribe, "publish": p.Publish} {
		if list == nil {
			return p, &message.FieldError{Field: field, Detail: `missing; both lists of patterns are required, such as {"subscribe":["news","chat.*"],"publish":[]}`}
		}
	}
	return p, nil
}

// patterns reads one list, nil if it is not given. Who takes the list checks the
// patterns.
func patterns(body *strictjson.Object, field string) ([]string, error) {
	v := body.Value(field)
	if v == nil {
		return nil, nil
	}
	list, err := strictjson.Strings(field, v)
	if err != nil {
		return nil, err
	}
	return append([]string{}, list...), nil // not nil if it is empty
}

// userExpire serves POST /v1/users/{uid}/expire.
func (s *Server) userExpire(ctx context.Context, r *http.Request, body *strictjson.Object) (Outcome, error) {
	uid := r.PathValue("uid")
	if err := message.CheckUID(uid); err != nil {
		return Outcome{}, err
	}
	before, err := issuedBefore(body)
	if err != nil {
		return Outcome{}, err
	}
	if before.IsZero() {
		before = time.Now()
	}
	return s.opt.Sessions.ExpireUser(ctx, uid, before)
}

// tokensExpire serves POST /v1/tokens/expire. It has no default: without a body it
// would log everybody out.
func (s *Server) tokensExpire(ctx context.Context, _ *http.Request, body *strictjson.Object) (Outcome, error) {
	before, err := issuedBefore(body)
	if err != nil {
		return Outcome{}, err
	}
	if before.IsZero() {
		return Outcome{}, &message.FieldError{Field: "issued_before", Detail: `missing; allowed is a time, such as {"issued_before":"2026-01-31T12:00:00Z"}: the tokens of all users issued before it are refused, and their sessions end`}
	}
	return s.opt.Sessions.ExpireTokens(ctx, before)
}

// issuedBefore reads the time of a revocation: RFC 3339, or seconds since 1970 as
// in a token (NumericDate, RFC 7519 §2). It returns the zero time if none is given.
func issuedBefore(body *strictjson.Object) (t time.Time, err error) {
	const field = "issued_before"
	if err := only(body, field); err != nil {
		return t, err
	}
	v := body.Value(field)
	if v == nil {
		return t, nil
	}
	bad := &message.FieldError{Field: field, Detail: fmt.Sprintf("%s; allowed is a time as in RFC 3339 (\"2026-01-31T12:00:00Z\"), or seconds since 1970", strictjson.Shorten(string(v)))}
	if v[0] != '"' {
		seconds, err := strconv.ParseFloat(string(v), 64)
		if err != nil || seconds < 1 || seconds >= 1<<33 { // until 2242; time.Time has no larger nanoseconds
			return t, bad
		}
		return time.Unix(0, int64(seconds*1e6)*1e3), nil
	}
	text, err := strictjson.String(field, v)
	if err != nil {
		return t, err
	}
	if t, err = time.Parse(time.RFC3339, text); err != nil || t.Unix() < 1 || t.Unix() >= 1<<33 {
		return time.Time{}, bad
	}
	return t, nil
}
