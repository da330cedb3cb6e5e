package push

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"belfry/message"
)

// parseItem reads one line of a batch. What it returns keeps nothing of line.
func parseItem(line []byte, maxPayload int) (*item, *problem) {
	if !utf8.Valid(line) {
		return nil, &problem{cause: CauseLine, detail: "not valid UTF-8; send other bytes as base64"}
	}
	if !json.Valid(line) {
		var raw json.RawMessage
		err := json.Unmarshal(line, &raw) // only for what it says
		detail := fmt.Sprintf("not valid JSON: %v", err)
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			detail = fmt.Sprintf("not valid JSON at byte %d: %v", syntax.Offset, err)
		}
		return nil, &problem{cause: CauseLine, detail: detail}
	}
	if line[skipSpace(line, 0)] != '{' {
		return nil, &problem{cause: CauseLine, detail: `allowed is an object such as {"to":{"topic":"news"},"text":"hello"}`}
	}
	it := &item{maxPayload: maxPayload}
	err := eachMember(line, it.member)
	if err == nil {
		err = it.complete()
	}
	if err != nil {
		return nil, asProblem(err)
	}
	return it, nil
}

// asProblem tells a *problem or a *message.FieldError.
func asProblem(err error) *problem {
	var fe *message.FieldError
	if errors.As(err, &fe) {
		return &problem{cause: CauseField, field: fe.Field, detail: fe.Detail}
	}
	var large tooLarge
	if errors.As(err, &large) {
		return payloadTooLarge(large.field, fmt.Sprint(large.size), large.most)
	}
	return &problem{cause: CauseLine, detail: err.Error()}
}

// tooLarge is a payload above the limit.
type tooLarge struct {
	field      string
	size, most int
}

func (e tooLarge) Error() string { return e.field + ": too large" }

// item is a line that is or was read.
type item struct {
	m          message.Message
	maxPayload int
	data       string // which of text, json and base64 was there
	hasTo      bool
}

// member reads one member of the line.
func (it *item) member(name, value []byte) error {
	switch string(name) {
	case `"to"`:
		if it.hasTo {
			return twice("to")
		}
		it.hasTo = true
		return it.target(value)
	case `"text"`, `"json"`, `"base64"`:
		field := string(name[1 : len(name)-1])
		switch it.data {
		case "":
		case field:
			return twice(field)
		default:
			return &message.FieldError{Field: field, Detail: fmt.Sprintf("there is %s already; allowed is one of text, json and base64", it.data)}
		}
		it.data = field
		return it.payload(field, value)
	case `"exclude"`:
		if it.m.Target.Exclude != "" {
			return twice("exclude")
		}
		s, err := stringOf("exclude", value)
		if err != nil {
			return err
		}
		it.m.Target.Exclude = s
		return checkExclude(s)
	case `"key"`:
		if it.m.Key != "" {
			return twice("key")
		}
		s, err := stringOf("key", value)
		if err != nil {
			return err
		}
		it.m.Key = s
		return message.CheckKey(s)
	}
	return &message.FieldError{Field: fieldName(name), Detail: "unknown; allowed are to, text, json, base64, exclude and key"}
}

func (it *item) complete() error {
	if !it.hasTo {
		return &message.FieldError{Field: "to", Detail: `missing; allowed is an object such as {"all":true} or {"topic":"news"}`}
	}
	if it.data == "" {
		return &message.FieldError{Field: "text", Detail: "missing; allowed is one of text, json and base64"}
	}
	return nil
}

// payload reads the data of the message.
func (it *item) payload(field string, value []byte) error {
	switch field {
	case "json":
		it.m.Payload = append(make([]byte, 0, len(value)), value...)
	case "text":
		p, err := bytesOf(field, value)
		if err != nil {
			return err
		}
		it.m.Payload = p
	case "base64":
		p, err := bytesOf(field, value)
		if err != nil {
			return err
		}
		it.m.Kind = message.Binary
		it.m.Payload = make([]byte, base64.StdEncoding.DecodedLen(len(p)))
		n, err := base64.StdEncoding.Strict().Decode(it.m.Payload, p)
		if err != nil {
			return &message.FieldError{Field: field, Detail: fmt.Sprintf("%v; allowed is the standard alphabet with padding (RFC 4648 §4)", err)}
		}
		it.m.Payload = it.m.Payload[:n:n]
	}
	if n := len(it.m.Payload); n > it.maxPayload {
		return tooLarge{field, n, it.maxPayload}
	}
	return nil
}

// scopes are the members of "to".
var scopes = map[string]struct {
	scope message.Scope
	many  bool
}{
	"topic": {message.ScopeTopics, false}, "topics": {message.ScopeTopics, true},
	"user": {message.ScopeUsers, false}, "users": {message.ScopeUsers, true},
	"session": {message.ScopeSessions, false}, "sessions": {message.ScopeSessions, true},
}

// target reads "to".
func (it *item) target(value []byte) error {
	if value[0] != '{' {
		return &message.FieldError{Field: "to", Detail: `not an object; allowed is one such as {"all":true} or {"topic":"news"}`}
	}
	members := 0
	err := eachMember(value, func(name, value []byte) error {
		if members++; members > 1 {
			return nil // told below
		}
		if string(name) == `"all"` {
			if string(value) != "true" {
				return &message.FieldError{Field: "to.all", Detail: "allowed is true"}
			}
			it.m.Target.Scope = message.ScopeAll
			return nil
		}
		field := "to." + fieldName(name)
		s, ok := scopes[string(name[1:len(name)-1])]
		if !ok {
			return &message.FieldError{Field: field, Detail: "unknown; allowed are all, topic, topics, user, users, session and sessions"}
		}
		names, err := namesOf(field, value, s.many)
		if err != nil {
			return err
		}
		it.m.Target.Scope, it.m.Target.Names = s.scope, names
		if err := it.m.Target.Check(); err != nil {
			return message.Renamed(err, field)
		}
		return nil
	})
	if err == nil && members != 1 {
		return &message.FieldError{Field: "to", Detail: fmt.Sprintf("%d members; allowed is one of all, topic, topics, user, users, session and sessions", members)}
	}
	return err
}

// namesOf reads a string, or an array of them.
func namesOf(field string, value []byte, many bool) ([]string, error) {
	if !many {
		s, err := stringOf(field, value)
		return []string{s}, err
	}
	if value[0] != '[' {
		return nil, &message.FieldError{Field: field, Detail: "not an array; allowed is an array of strings"}
	}
	var names []string
	err := eachElement(value, func(value []byte) error {
		if len(names) == message.MaxTargetNames {
			return &message.FieldError{Field: field, Detail: fmt.Sprintf("more than %d names; allowed are 1 to %d", message.MaxTargetNames, message.MaxTargetNames)}
		}
		s, err := stringOf(fmt.Sprintf("%s[%d]", field, len(names)), value)
		names = append(names, s)
		return err
	})
	return names, err
}

// bytesOf reads a string value.
func bytesOf(field string, value []byte) ([]byte, error) {
	if value[0] != '"' {
		return nil, &message.FieldError{Field: field, Detail: "not a string"}
	}
	p, ok := unquote(value)
	if !ok {
		return nil, &message.FieldError{Field: field, Detail: `half of a surrogate pair (\ud800 to \udfff), which is no character`}
	}
	return p, nil
}

func stringOf(field string, value []byte) (string, error) {
	p, err := bytesOf(field, value)
	return string(p), err
}

func twice(field string) error {
	return &message.FieldError{Field: field, Detail: "given twice; allowed is once"}
}

// fieldName is a member's raw name for an error, cut if it is long.
func fieldName(raw []byte) string {
	p, ok := unquote(raw)
	if !ok || len(p) > 64 {
		return "?"
	}
	return string(p)
}
