package gateway

import (
	"bytes"
	"errors"
	"fmt"
	"net/textproto"
	"strings"
	"sync/atomic"

	"belfry/message"

	"github.com/go-json-experiment/json/jsontext"
)

// route is a Route that is in use.
type route struct {
	*Route
	headers    map[string]bool
	cookies    map[string]bool
	uid, event pattern
	topic      pattern
	value      pattern

	// Guarded by Gateway.mu.
	waiting  list  // sessions whose next event waits for a call of this route
	messages int   // of these, those whose next event is a message
	others   int   // events that are no messages, in all queues
	inFlight int   // calls
	bytes    int64 // of the events in these calls

	pending   int  // events that are not done
	retired   bool // not in force any more: it gets no further events
	congested bool // its queue is half full

	*counters // shared with the route of that name that it has replaced
}

// counters of a route. Several goroutines write them.
type counters struct {
	dropped [kinds][causes]atomic.Uint64 // events that nobody was told of
	refused [causes]atomic.Uint64        // messages whose client got an error
	results [results]atomic.Uint64       // of calls, by what became of the answer
	lost    atomic.Int64                 // time of the last event that was dropped, as Unix nanoseconds
}

// compileAll checks Routes.
func compileAll(routes []Route) (all []*route, err error) {
	names := map[string]bool{}
	for i := range routes {
		r, err := compile(&routes[i], i)
		if err != nil {
			return nil, err
		}
		if names[r.Name] {
			return nil, fmt.Errorf("gateway: route %s: name: another route has it; allowed are names that differ", r.Name)
		}
		names[r.Name] = true
		all = append(all, r)
	}
	return all, nil
}

// compile checks a Route. Errors name the route and the field.
func compile(r *Route, index int) (*route, error) {
	c := &route{Route: r, counters: &counters{}, headers: map[string]bool{}, cookies: map[string]bool{}}
	refuse := func(field, why string, args ...any) error {
		return fmt.Errorf("gateway: route %s: %s: %s", r.Name, field, fmt.Sprintf(why, args...))
	}
	switch {
	case r.Name == "":
		return nil, fmt.Errorf("gateway: route %d: name: empty; every route needs one", index+1)
	case r.Backend == nil:
		return nil, refuse("url", "no backend")
	case len(r.Events) == 0:
		return nil, refuse("events", "none; at least one is needed")
	case r.AtLeastOnce && !r.Idempotent:
		return nil, refuse("delivery", "at_least_once needs idempotent: true, because an event may come twice")
	case r.Match.Value != "" && r.Match.Field == "":
		return nil, refuse("match.value", "needs match.field")
	}
	for _, k := range r.Events {
		// Such a route would never get these events, without a word.
		switch m := &r.Match; {
		case k != Message && (m.Event != "" || m.Field != ""):
			return nil, refuse("events", "%v never matches match.event and match.field, which are for messages; give it a route of its own", k)
		case (k == Connect || k == Disconnect) && m.Topic != "":
			return nil, refuse("events", "%v never matches match.topic, because it has no topic; give it a route of its own", k)
		}
	}
	for _, p := range []struct {
		field, text string
		to          *pattern
	}{
		{"match.uid", r.Match.UID, &c.uid}, {"match.event", r.Match.Event, &c.event},
		{"match.topic", r.Match.Topic, &c.topic}, {"match.value", r.Match.Value, &c.value},
	} {
		var err error
		if *p.to, err = parsePattern(p.text); err != nil {
			return nil, refuse(p.field, "%v", err)
		}
	}
	if t := c.topic; t.set && t.text != "" {
		if err := message.CheckTopic(strings.TrimSuffix(t.text, ".")); err != nil || t.prefix != strings.HasSuffix(t.text, ".") {
			return nil, refuse("match.topic", "%q; allowed are a topic, a topic followed by .*, and *", r.Match.Topic)
		}
	}
	for _, name := range r.Headers {
		if !isToken(name) {
			return nil, refuse("headers", "%q is not the name of a header", name)
		}
		c.headers[textproto.CanonicalMIMEHeaderKey(name)] = true
	}
	for _, name := range r.Cookies {
		if !isToken(name) {
			return nil, refuse("cookies", "%q is not the name of a cookie", name)
		}
		c.cookies[name] = true
	}
	return c, nil
}

// isToken says whether name is a token (RFC 9110 §5.6.2).
func isToken(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte("\"(),/:;<=>?@[\\]{}", c) >= 0 {
			return false
		}
	}
	return name != ""
}

// pattern matches a text: exactly, or by its beginning. The zero pattern matches
// everything, also that there is no text.
type pattern struct {
	set    bool
	prefix bool
	text   string
}

var errPattern = errors.New("a * is allowed only at the end")

func parsePattern(text string) (pattern, error) {
	p := pattern{set: text != ""}
	p.text, p.prefix = strings.CutSuffix(text, "*")
	if strings.Contains(p.text, "*") {
		return p, errPattern
	}
	return p, nil
}

// match says whether text matches; "" stands for no text.
func (p *pattern) match(text string) bool {
	switch {
	case !p.set:
		return true
	case text == "":
		return false
	case p.prefix:
		return strings.HasPrefix(text, p.text)
	}
	return text == p.text
}

// takes says whether the route takes an event that is of a kind that it wants. It
// looks into the payload of a message only if Match.Field is set.
func (r *route) takes(e *event) bool {
	if !r.uid.match(e.client.UID) {
		return false
	}
	if e.kind != Message {
		return r.topic.match(e.topic)
	}
	if !r.event.match(e.in.Event) || !r.topic.match(e.in.Topic) {
		return false
	}
	if r.Match.Field == "" {
		return true
	}
	value, found := stringField(e.in.Payload, r.Match.Field)
	return found && (!r.value.set || r.value.match(value))
}

// stringField returns the value of a field of the JSON object in p, if it is a
// string. An object that has the field twice, also in other letters, has none: the
// backend's parser might take the other one, and the client would choose the route
// with one value and be served by another.
func stringField(p []byte, name string) (value string, found bool) {
	d := jsontext.NewDecoder(bytes.NewBuffer(p), jsontext.AllowDuplicateNames(true))
	if d.PeekKind() != '{' {
		return "", false
	}
	if _, err := d.ReadToken(); err != nil {
		return "", false
	}
	for d.PeekKind() == '"' {
		key, err := d.ReadToken()
		if err != nil {
			return "", false
		}
		field := key.String()
		if !strings.EqualFold(field, name) {
			if d.SkipValue() != nil {
				return "", false
			}
			continue
		}
		if found || field != name || d.PeekKind() != '"' {
			return "", false
		}
		text, err := d.ReadToken()
		if err != nil {
			return "", false
		}
		value, found = text.String(), true
	}
	return value, found && d.PeekKind() == '}'
}
