package v1

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"belfry/message"
	"belfry/wire"
)

// Limits of one belfry.v1 command.
const (
	MaxRefLen        = 64                     // bytes of a ref as it is spelt in JSON, quotes included
	MaxCommandTopics = message.MaxTargetNames // topics in one sub or unsub
)

// badRequest is the CommandError code of what is not a valid command.
const badRequest = "bad_request"

// Command reads the one command in p. It is stricter than encoding/json on its
// own: names of fields are matched with their case, and a field that is
// unknown, repeated or foreign to the command is refused, so that a misspelt
// option is never silently without effect. Its errors are *CommandError with
// code bad_request. The Command holds copies only.
func (Encoding) Command(p []byte, kind message.Kind) (cmd wire.Command, rest []byte, err error) {
	if kind != message.Text {
		return cmd, nil, &wire.CommandError{Code: badRequest, Text: "a command is a text message, not a binary one"}
	}
	if !utf8.Valid(p) {
		return cmd, nil, &wire.CommandError{Code: badRequest, Text: "not valid UTF-8"}
	}
	fields, err := readFields(p)
	ref, refErr := fields.ref()
	if err == nil {
		err = refErr
	}
	cmd.Ref = ref
	if err == nil {
		err = fields.fill(&cmd)
	}
	if err == nil {
		return cmd, nil, nil
	}
	refused := &wire.CommandError{Code: badRequest, Ref: ref, Text: err.Error()}
	if f, ok := errors.AsType[*message.FieldError](err); ok {
		refused.Field = f.Field
	}
	return wire.Command{}, nil, refused
}

// ref returns the field ref as it is spelt in JSON, "" if there is none.
func (f jsonFields) ref() (string, error) {
	raw, ok := f["ref"]
	if !ok {
		return "", nil
	}
	if c := raw[0]; c != '"' && c != '-' && (c < '0' || c > '9') {
		return "", &message.FieldError{Field: "ref", Detail: "must be a string or a number"}
	}
	if len(raw) > MaxRefLen {
		return "", &message.FieldError{Field: "ref", Detail: fmt.Sprintf("%d bytes long; allowed are 1 to %d", len(raw), MaxRefLen)}
	}
	return string(raw), nil
}

// fill reads the fields of the command that "type" names.
func (f jsonFields) fill(cmd *wire.Command) error {
	kind, err := f.str("type", "type")
	if err != nil {
		return err
	}
	switch kind {
	case "sub", "unsub":
		cmd.Op = wire.OpSub
		if kind == "unsub" {
			cmd.Op = wire.OpUnsub
		}
		if err := f.only("type", "ref", "topic", "topics"); err != nil {
			return err
		}
		cmd.Topics, err = f.topics()
		return err
	case "pub":
		cmd.Op = wire.OpPub
		if err := f.only("type", "ref", "to", "data", "binary"); err != nil {
			return err
		}
		return f.fillPub(cmd)
	case "ping":
		cmd.Op = wire.OpPing
		return f.only("type", "ref")
	}
	return &message.FieldError{Field: "type", Detail: fmt.Sprintf("%q; allowed are sub, unsub, pub and ping", shorten(kind))}
}

// only refuses fields other than the allowed ones, naming the first in the
// alphabet so that the same command always gets the same answer.
func (f jsonFields) only(allowed ...string) error {
	strange, found := "", false
next:
	for name := range f {
		for _, a := range allowed {
			if name == a {
				continue next
			}
		}
		if !found || name < strange {
			strange, found = name, true
		}
	}
	if !found {
		return nil
	}
	return &message.FieldError{Field: shorten(strange), Detail: "unknown here; allowed are " + strings.Join(allowed, ", ")}
}

// topics reads "topic" or "topics", one of which must be there.
func (f jsonFields) topics() ([]string, error) {
	one, several := f["topic"] != nil, f["topics"] != nil
	if one && several {
		return nil, &message.FieldError{Field: "topics", Detail: "give either topic or topics"}
	}
	if !several {
		topic, err := f.str("topic", "topic")
		if err != nil {
			return nil, err
		}
		return []string{topic}, message.CheckTopic(topic)
	}
	topics, err := f.strs("topics", "topics")
	if err != nil {
		return nil, err
	}
	if n := len(topics); n < 1 || n > MaxCommandTopics {
		return nil, &message.FieldError{Field: "topics", Detail: fmt.Sprintf("%d names; allowed are 1 to %d", n, MaxCommandTopics)}
	}
	for _, topic := range topics {
		if err := message.CheckTopic(topic); err != nil {
			return nil, renameField(err, "topics")
		}
	}
	return topics, nil
}

func (f jsonFields) fillPub(cmd *wire.Command) error {
	to, ok := f["to"]
	if !ok {
		return &message.FieldError{Field: "to", Detail: "missing"}
	}
	var err error
	if cmd.Target, err = parseTarget(to); err != nil {
		return err
	}
	binary, err := f.boolean("binary", "binary")
	if err != nil {
		return err
	}
	data, err := f.str("data", "data")
	if err != nil {
		return err
	}
	if !binary {
		cmd.Payload = []byte(data)
		return nil
	}
	cmd.Kind = message.Binary
	// The package skips line breaks; whoever writes them wraps lines by
	// mistake (RFC 4648 §3.1).
	cmd.Payload, err = base64.StdEncoding.Strict().DecodeString(data)
	if err != nil || strings.ContainsAny(data, "\r\n") {
		return &message.FieldError{Field: "data", Detail: "not base64 (RFC 4648 §4, with padding, without line breaks)"}
	}
	return nil
}

// targetFields maps the fields of "to" to scopes.
var targetFields = [...]struct {
	name  string
	scope message.Scope
	list  bool
}{
	{"topic", message.ScopeTopics, false}, {"topics", message.ScopeTopics, true},
	{"user", message.ScopeUsers, false}, {"users", message.ScopeUsers, true},
	{"session", message.ScopeSessions, false}, {"sessions", message.ScopeSessions, true},
}

// parseTarget reads "to": an object with exactly one field.
func parseTarget(raw json.RawMessage) (message.Target, error) {
	const allowed = "an object with one of topic, topics, user, users, session, sessions, or all"
	if raw[0] != '{' {
		return message.Target{}, &message.FieldError{Field: "to", Detail: "must be " + allowed}
	}
	f, err := readFields(raw)
	if err != nil {
		if f, ok := errors.AsType[*message.FieldError](err); ok {
			return message.Target{}, renameField(err, "to."+f.Field)
		}
		return message.Target{}, renameField(err, "to")
	}
	if len(f) != 1 {
		return message.Target{}, &message.FieldError{Field: "to", Detail: fmt.Sprintf("%d fields; must be %s", len(f), allowed)}
	}
	if _, ok := f["all"]; ok {
		all, err := f.boolean("all", "to.all")
		if err == nil && !all {
			err = &message.FieldError{Field: "to.all", Detail: "must be true"}
		}
		return message.ToAll(), err
	}
	for _, tf := range targetFields {
		if _, ok := f[tf.name]; !ok {
			continue
		}
		field := "to." + tf.name
		t := message.Target{Scope: tf.scope}
		if tf.list {
			t.Names, err = f.strs(tf.name, field)
		} else {
			var name string
			name, err = f.str(tf.name, field)
			t.Names = []string{name}
		}
		if err != nil {
			return message.Target{}, err
		}
		return t, renameField(t.Check(), field)
	}
	for name := range f {
		return message.Target{}, &message.FieldError{Field: "to." + shorten(name), Detail: "unknown; to must be " + allowed}
	}
	return message.Target{}, nil // unreachable: f has one field
}

// renameField puts the name a client used into a *message.FieldError.
func renameField(err error, field string) error {
	if err == nil {
		return nil
	}
	if f, ok := errors.AsType[*message.FieldError](err); ok {
		return &message.FieldError{Field: field, Detail: f.Detail}
	}
	return &message.FieldError{Field: field, Detail: err.Error()}
}

// shorten keeps an answer from repeating a client's megabyte back to it.
func shorten(s string) string {
	const most = 32
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
