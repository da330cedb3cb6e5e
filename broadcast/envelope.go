package broadcast

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/message"
)

// Headers of a bus message; docs/bus.md is their specification. The payload
// of the bus message is the payload of the message, untouched.
const (
	headerPrefix  = "Belfry-"
	headerID      = "Belfry-Id"
	headerKind    = "Belfry-Kind"
	headerExclude = "Belfry-Exclude"
	headerExcept  = "Belfry-Exclude-Topic" // one value for each topic
	headerOp      = "Belfry-Op"
	headerKey     = "Belfry-Key"
	headerTopic   = "Belfry-Topic"   // one value for each topic, if there are several
	headerUser    = "Belfry-User"    // one value for each user; all are in the user bucket of the subject
	headerSession = "Belfry-Session" // one value for each session of the node
	headerNode    = "Belfry-Node"    // id of the node that sent the message
	headerSeq     = "Belfry-Seq"     // epoch.number in the stream of node and subject
	headerTTL     = "Belfry-Ttl"     // see ttl.go
	headerSpread  = "Belfry-Spread"  // milliseconds over which each node sends the message to its sessions
	headerReport  = "Belfry-Report"  // set by nodes, see report.go
	headerOrigin  = "Belfry-Origin"  // of a copy: the relay that it was, see route.go
	headerRelay   = "Belfry-Relay"   // of a relay that is no push
	headerPlace   = "Belfry-Place"   // set by nodes: the place of a push to users, see inorder.go
	headerMembers = "Belfry-Members" // set by nodes: join, leave or count
)

// stamp identifies a numbered bus message: the node that sent it, and its number
// in the stream of this node and subject (see numbers.go).
type stamp struct {
	node   uint32
	epoch  uint64
	number uint64
}

// MalformedError is a bus message that cannot be delivered.
type MalformedError struct {
	Subject string
	Err     error // what is wrong; a *message.FieldError names the header
}

func (e *MalformedError) Error() string {
	return "malformed message on " + e.Subject + ": " + e.Err.Error()
}

// Unwrap returns Err.
func (e *MalformedError) Unwrap() error { return e.Err }

// originSize is an upper bound of the bytes of the header Belfry-Origin.
const originSize = len(headerOrigin) + 4 + 8 + 1 + 16 + 1 + 16

// encode returns the bus message of a part on a subject. o is the relay that it was.
func encode(subject string, p *part, st stamp, o origin) *nats.Msg {
	m := p.message
	if p.subject == subjectReport {
		return encodeReport(m, st)
	}
	h := make(nats.Header, 8)
	if o.node != 0 || o.epoch != 0 {
		h[headerOrigin] = []string{o.String()}
	}
	if p.special != "" {
		h[headerNode], h[headerSeq] = []string{nodeString(st.node)}, []string{formatSeq(st.epoch, st.number)}
		h[headerRelay] = []string{p.special}
		return &nats.Msg{Subject: subject, Header: h}
	}
	h[headerID] = []string{m.ID}
	h[headerKind] = []string{m.Kind.String()}
	h[headerNode] = []string{nodeString(st.node)}
	h[headerSeq] = []string{formatSeq(st.epoch, st.number)}
	if m.Target.Exclude != "" {
		h[headerExclude] = []string{m.Target.Exclude}
	}
	if len(m.Target.ExcludeTopics) > 0 {
		h[headerExcept] = m.Target.ExcludeTopics // topics need no escaping
	}
	if m.Op != 0 {
		h[headerOp] = []string{strconv.FormatUint(uint64(m.Op), 10)}
	}
	if m.Key != "" {
		h[headerKey] = []string{escape(m.Key)}
	}
	if m.Membership != message.NoMembership {
		h[headerMembers] = []string{m.Membership.String()}
	}
	if !m.Expires.IsZero() {
		h[headerTTL] = []string{formatTTL(time.Until(m.Expires))}
	}
	if m.Spread > 0 {
		h[headerSpread] = []string{strconv.FormatInt(m.Spread.Milliseconds(), 10)}
	}
	if p.place.epoch != 0 {
		h[headerPlace] = []string{formatSeq(p.place.epoch, p.place.number)}
	}
	if m.Report != nil {
		h[headerReport] = []string{formatReport(m.Report)}
	}
	if len(p.names) > 0 {
		values := make([]string, len(p.names))
		for i, name := range p.names {
			values[i] = escape(name)
		}
		h[nameHeader(m.Target.Scope)] = values
	}
	return &nats.Msg{Subject: subject, Header: h, Data: m.Payload}
}

func nameHeader(s message.Scope) string {
	switch s {
	case message.ScopeTopics:
		return headerTopic
	case message.ScopeUsers:
		return headerUser
	}
	return headerSession
}

func formatSeq(epoch, number uint64) string {
	b := strconv.AppendUint(make([]byte, 0, 40), epoch, 10)
	return string(strconv.AppendUint(append(b, '.'), number, 10))
}

func parseSeq(s string) (epoch, number uint64, ok bool) {
	e, n, found := strings.Cut(s, ".")
	if !found {
		return 0, 0, false
	}
	epoch, err1 := strconv.ParseUint(e, 10, 64)
	number, err2 := strconv.ParseUint(n, 10, 64)
	return epoch, number, err1 == nil && err2 == nil && validNumber(epoch) && validNumber(number)
}

// decoder decodes bus messages for one node.
type decoder struct {
	node       uint32
	maxPayload int
	nodeOf     func(sid string) (uint32, error)
}

// stamp returns the sender and the number of m. numbered is false for a message
// of a NATS client that is not a node.
func (d *decoder) stamp(m *nats.Msg) (st stamp, numbered bool, err error) {
	if err := checkDecoded(m); err != nil {
		return st, false, err
	}
	node, hasNode, err := one(m.Header, headerNode)
	if err != nil {
		return st, false, err
	}
	seq, hasSeq, err := one(m.Header, headerSeq)
	if err != nil {
		return st, false, err
	}
	if !hasNode && !hasSeq {
		return st, false, nil
	}
	var ok bool
	if st.node, ok = parseNode(node); !ok {
		return st, false, bad(headerNode, "allowed are 8 lower-case hexadecimal digits")
	}
	if st.epoch, st.number, ok = parseSeq(seq); !ok {
		return st, false, bad(headerSeq, fmt.Sprintf("allowed is epoch.number, both 1 to %d", uint64(maxNumber)))
	}
	return st, true, nil
}

// decode returns the message. numbered says that a node sent it: a node of a
// later version may add headers, but an unknown header of another NATS client
// is a mistake. The ID of the result is "" if m has none.
func (d *decoder) decode(m *nats.Msg, numbered bool) (*message.Message, error) {
	if err := checkHeaders(m.Header, numbered); err != nil {
		return nil, err
	}
	out := &message.Message{Payload: m.Data}
	var err error
	if out.Target, err = d.target(m); err != nil {
		return nil, err
	}
	if out.ID, _, err = one(m.Header, headerID); err != nil {
		return nil, err
	}
	if out.Target.Exclude, _, err = one(m.Header, headerExclude); err != nil {
		return nil, err
	}
	if out.Target.ExcludeTopics, err = names(m.Header, headerExcept); err != nil {
		return nil, err
	}
	if out.Op, err = operation(m.Header); err != nil {
		return nil, err
	}
	if out.Expires, err = expires(m.Header); err != nil {
		return nil, err
	}
	if out.Spread, err = spread(m.Header); err != nil {
		return nil, err
	}
	if out.Report, err = reportOf(m.Header, numbered); err != nil {
		return nil, err
	}
	if out.Membership, err = membership(m.Header, numbered); err != nil {
		return nil, err
	}
	key, _, err := one(m.Header, headerKey)
	if err != nil {
		return nil, err
	}
	var ok bool
	if out.Key, ok = unescape(key); !ok {
		return nil, bad(headerKey, "invalid percent-encoding")
	}
	kind, given, err := one(m.Header, headerKind)
	switch {
	case err != nil:
		return nil, err
	case !given:
		out.Kind = message.KindOf(m.Data)
	case kind == message.Text.String():
		out.Kind = message.Text
	case kind == message.Binary.String():
		out.Kind = message.Binary
	default:
		return nil, bad(headerKind, "allowed are text and binary")
	}
	return out, out.Check(d.maxPayload)
}

// operation returns the operation number, 0 if the message has none.
func operation(h nats.Header) (uint32, error) {
	text, given, err := one(h, headerOp)
	if err != nil || !given {
		return 0, err
	}
	n, err := strconv.ParseUint(text, 10, 32)
	if err != nil || n == 0 || text[0] == '0' {
		return 0, bad(headerOp, "allowed are 1 to 4294967295")
	}
	return uint32(n), nil
}

// membership returns what a message tells of its topic's subscribers. Only nodes may
// tell that.
func membership(h nats.Header, numbered bool) (message.Membership, error) {
	text, given, err := one(h, headerMembers)
	if err != nil || !given {
		return message.NoMembership, err
	}
	m, ok := message.ParseMembership(text)
	switch {
	case !numbered:
		return m, bad(headerMembers, "only nodes set it")
	case !ok:
		return m, bad(headerMembers, "allowed are join, leave and count")
	}
	return m, nil
}

// target returns the target of m: the subject says its scope, and the header for
// this scope has the names.
func (d *decoder) target(m *nats.Msg) (message.Target, error) {
	want, t := "", message.Target{}
	var token string
	switch s := m.Subject; {
	case s == subjectAll:
	case strings.HasPrefix(s, subjectTopic):
		want, token, t.Scope = headerTopic, s[len(subjectTopic):], message.ScopeTopics
	case strings.HasPrefix(s, subjectUser):
		want, token, t.Scope = headerUser, s[len(subjectUser):], message.ScopeUsers
	case strings.HasPrefix(s, subjectRelay):
		want, t.Scope = headerUser, message.ScopeUsers
	case strings.HasPrefix(s, subjectNode) && m.Header[headerUser] != nil: // a copy from the home of the users
		want, t.Scope = headerUser, message.ScopeUsers
	case strings.HasPrefix(s, subjectNode):
		want, t.Scope = headerSession, message.ScopeSessions
	default:
		return t, bad("subject", "unknown")
	}
	for _, h := range [...]string{headerTopic, headerUser, headerSession} {
		if _, given := m.Header[h]; given && h != want {
			return t, bad(h, "not allowed on this subject")
		}
	}
	names, err := names(m.Header, want)
	if err != nil {
		return t, err
	}
	switch t.Scope {
	case message.ScopeTopics:
		err = topicNames(&names, token)
	case message.ScopeUsers:
		if token == "" && len(names) > 0 {
			token = strconv.Itoa(int(UserBucket(names[0])))
		}
		err = userNames(names, token)
	case message.ScopeSessions:
		err = d.sessionNames(names)
	}
	t.Names = names
	return t, err
}

// topicNames sets names to the topic of the subject if the message lists no
// topics. A list must contain the topic of the subject.
func topicNames(names *[]string, topic string) error {
	if len(*names) == 0 {
		*names = []string{topic}
		return nil
	}
	for _, name := range *names {
		if name == topic {
			return nil
		}
	}
	return bad(headerTopic, "must list the topic of the subject")
}

// userNames checks that all users belong to the user bucket. Otherwise a node that
// did not subscribe to it would miss messages for its users.
func userNames(names []string, bucket string) error {
	b, ok := parseUserBucket(bucket)
	if !ok {
		return bad("subject", fmt.Sprintf("user bucket %q; allowed are 0 to %d", bucket, userBuckets-1))
	}
	if len(names) == 0 {
		return bad(headerUser, "required on this subject, one value for each user")
	}
	for _, name := range names {
		if UserBucket(name) != b {
			return bad(headerUser, fmt.Sprintf("a user of user bucket %d on the subject of user bucket %d", UserBucket(name), b))
		}
	}
	return nil
}

func (d *decoder) sessionNames(names []string) error {
	if len(names) == 0 {
		return bad(headerSession, "required on this subject, one value for each session")
	}
	for _, name := range names {
		if node, err := d.nodeOf(name); err != nil || node != d.node {
			return bad(headerSession, "not a session of this node")
		}
	}
	return nil
}

// names returns the unescaped values of a header. It returns nil for the header
// "".
func names(h nats.Header, header string) ([]string, error) {
	if header == "" {
		return nil, nil
	}
	values := h[header]
	if len(values) == 0 {
		return nil, nil
	}
	out := make([]string, len(values))
	for i, v := range values {
		name, ok := unescape(v)
		if !ok {
			return nil, bad(header, "invalid percent-encoding")
		}
		out[i] = name
	}
	return out, nil
}

// one returns the value of a header that may be given once and must not be empty.
func one(h nats.Header, header string) (v string, given bool, err error) {
	switch values := h[header]; {
	case len(values) == 0:
		return "", false, nil
	case len(values) > 1:
		return "", true, bad(header, "given more than once")
	case values[0] == "":
		return "", true, bad(header, "empty")
	default:
		return values[0], true, nil
	}
}

func bad(field, detail string) error { return &message.FieldError{Field: field, Detail: detail} }
