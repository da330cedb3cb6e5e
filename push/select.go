package push

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"belfry/message"
	"belfry/ws"
)

// act does something to the sessions of a selection.
type act func(ctx context.Context, r *http.Request, sel Selection, p url.Values) (Outcome, error)

// selecting returns the handle of an act on the session or the user in the path. It
// reads no body. parameters are those that the query may have.
func (s *Server) selecting(do act, parameters ...string) handle {
	return func(w http.ResponseWriter, r *http.Request, _ call) int {
		values, p := parseQuery(r.URL.RawQuery, parameters...)
		if p != nil {
			return s.refuse(w, p)
		}
		sel, err := selection(r)
		if err != nil {
			return s.refuse(w, s.changeProblem(err))
		}
		defer s.leave()
		if p := s.enter(); p != nil {
			return s.refuse(w, p)
		}
		ctx, cancel := context.WithTimeout(context.Background(), s.opt.NodesWait)
		defer cancel()
		outcome, err := do(ctx, r, sel, values)
		if err != nil {
			return s.refuse(w, s.changeProblem(err))
		}
		return outcome.write(w)
	}
}

// selection returns the session or the user in the path of a request.
func selection(r *http.Request) (sel Selection, err error) {
	if sel.SID = r.PathValue("sid"); sel.SID != "" {
		return sel, message.Renamed(message.CheckSID(sel.SID), "sid")
	}
	sel.UID = r.PathValue("uid")
	return sel, message.CheckUID(sel.UID)
}

// parseQuery reads the parameters of a query, each at most once.
func parseQuery(raw string, allowed ...string) (url.Values, *problem) {
	if len(allowed) == 0 {
		return nil, noParameters(raw)
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return nil, &problem{cause: CauseParameter, detail: "the query is malformed: " + err.Error()}
	}
	for name, v := range values {
		if !slices.Contains(allowed, name) {
			return nil, unknownParameter(name, strings.Join(allowed, ", "))
		}
		if len(v) != 1 {
			return nil, &problem{cause: CauseField, field: name, detail: fmt.Sprintf("given %d times; allowed is once", len(v))}
		}
	}
	return values, nil
}

// end serves DELETE on a session or a user.
func (s *Server) end(ctx context.Context, _ *http.Request, sel Selection, p url.Values) (Outcome, error) {
	code, reason := uint64(ws.CloseNormal), p.Get("reason")
	if p.Has("code") {
		var err error
		if code, err = strconv.ParseUint(p.Get("code"), 10, 16); err != nil || !ws.ApplicationMayClose(uint16(code)) {
			return Outcome{}, &message.FieldError{Field: "code", Detail: fmt.Sprintf("%q; allowed are 1000, 1001, 1008, 1011, 1013 and 3000 to 4999", p.Get("code"))}
		}
	}
	if len(reason) > ws.MaxCloseReason || !utf8.ValidString(reason) {
		return Outcome{}, &message.FieldError{Field: "reason", Detail: fmt.Sprintf("%d bytes; allowed are at most %d of UTF-8 (RFC 6455 §5.5)", len(reason), ws.MaxCloseReason)}
	}
	return s.opt.Sessions.End(ctx, sel, uint16(code), reason)
}

// join serves PUT on a topic of a session or a user.
func (s *Server) join(ctx context.Context, r *http.Request, sel Selection, _ url.Values) (Outcome, error) {
	topic := r.PathValue("topic")
	if err := message.CheckTopic(topic); err != nil {
		return Outcome{}, err
	}
	return s.opt.Sessions.Join(ctx, sel, topic)
}

// leaveTopic serves DELETE on a topic of a session or a user.
func (s *Server) leaveTopic(ctx context.Context, r *http.Request, sel Selection, _ url.Values) (Outcome, error) {
	topic := r.PathValue("topic")
	if err := message.CheckTopic(topic); err != nil {
		return Outcome{}, err
	}
	return s.opt.Sessions.Leave(ctx, sel, topic)
}
