package strictjson

import (
	"errors"
	"fmt"

	"belfry/message"
)

const targetFields = "all, topic, topics, user, users, session and sessions"

// Target reads "to": an object with exactly one field, which says who receives
// a message. Its errors are *message.FieldError or *ElementError, their fields
// "to" or one like "to.topic".
func Target(value []byte) (message.Target, error) {
	if value[0] != '{' {
		return message.Target{}, &message.FieldError{Field: "to", Detail: "must be an object with one of " + targetFields}
	}
	var o Object
	if err := o.Parse(value); err != nil {
		if f, ok := errors.AsType[*message.FieldError](err); ok {
			return message.Target{}, message.Renamed(f, "to."+f.Field)
		}
		return message.Target{}, &message.FieldError{Field: "to", Detail: err.Error()}
	}
	if n := len(o.Fields()); n != 1 {
		return message.Target{}, &message.FieldError{Field: "to", Detail: fmt.Sprintf("%d fields; allowed is one of %s", n, targetFields)}
	}
	f := o.Fields()[0]
	switch string(f.Name) {
	case "all":
		if string(f.Value) != "true" {
			return message.Target{}, &message.FieldError{Field: "to.all", Detail: "must be true"}
		}
		return message.ToAll(), nil
	case "topic":
		return one("to.topic", message.ScopeTopics, f.Value)
	case "topics":
		return several("to.topics", message.ScopeTopics, f.Value)
	case "user":
		return one("to.user", message.ScopeUsers, f.Value)
	case "users":
		return several("to.users", message.ScopeUsers, f.Value)
	case "session":
		return one("to.session", message.ScopeSessions, f.Value)
	case "sessions":
		return several("to.sessions", message.ScopeSessions, f.Value)
	}
	return message.Target{}, &message.FieldError{Field: "to." + Shorten(string(f.Name)), Detail: "unknown; allowed are " + targetFields}
}

// one reads a target of one name.
func one(field string, scope message.Scope, value []byte) (message.Target, error) {
	name, err := String(field, value)
	if err != nil {
		return message.Target{}, err
	}
	return checked(field, message.Target{Scope: scope, Names: []string{name}})
}

// several reads a target of a list of names.
func several(field string, scope message.Scope, value []byte) (message.Target, error) {
	names, err := Strings(field, value)
	if err != nil {
		return message.Target{}, err
	}
	return checked(field, message.Target{Scope: scope, Names: names})
}

func checked(field string, t message.Target) (message.Target, error) {
	if err := t.Check(); err != nil {
		return message.Target{}, message.Renamed(err, field)
	}
	return t, nil
}
