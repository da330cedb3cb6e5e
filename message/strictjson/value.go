package strictjson

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"belfry/message"
)

// The functions below read the value of a Field, which Parse has checked
// already. field is its name in errors, which are of type *message.FieldError
// or *ElementError.

// ElementError is a *message.FieldError about one element of an array.
type ElementError struct {
	Err   *message.FieldError // names the array
	Index int
}

// Field returns the name of the element, like "to.topics[1]".
func (e *ElementError) Field() string { return fmt.Sprintf("%s[%d]", e.Err.Field, e.Index) }

func (e *ElementError) Error() string { return e.Field() + ": " + e.Err.Detail }

// Unwrap returns the error that names the array.
func (e *ElementError) Unwrap() error { return e.Err }

// String returns what a JSON string stands for.
func String(field string, value []byte) (string, error) {
	text, detail := unquote(value)
	if detail != "" {
		return "", &message.FieldError{Field: field, Detail: detail}
	}
	return string(text), nil
}

// Bytes returns the same as String, in memory of its own.
func Bytes(field string, value []byte) ([]byte, error) {
	text, detail := unquote(value)
	if detail != "" {
		return nil, &message.FieldError{Field: field, Detail: detail}
	}
	if len(text) == len(value)-len(`""`) { // no escapes: text is borrowed
		return append(make([]byte, 0, len(text)), text...), nil
	}
	return text, nil
}

// Strings returns the strings of a JSON array. More than
// message.MaxTargetNames are an error and are not read to their end.
func Strings(field string, value []byte) ([]string, error) {
	if value[0] != '[' {
		return nil, &message.FieldError{Field: field, Detail: "must be an array of strings"}
	}
	d := newDecoder(value)
	defer d.release()
	if _, err := d.ReadToken(); err != nil {
		return nil, &message.FieldError{Field: field, Detail: err.Error()}
	}
	var list []string
	for d.PeekKind() != ']' {
		const most = message.MaxTargetNames
		if len(list) == most {
			return nil, &message.FieldError{Field: field, Detail: fmt.Sprintf("more than %d names; allowed are 1 to %d", most, most)}
		}
		element, err := d.next(value)
		if err != nil {
			return nil, &message.FieldError{Field: field, Detail: err.Error()}
		}
		text, detail := unquote(element)
		if detail != "" {
			return nil, &ElementError{Err: &message.FieldError{Field: field, Detail: detail}, Index: len(list)}
		}
		list = append(list, string(text))
	}
	return list, nil
}

// unquote returns what a JSON string stands for, borrowed from value if it has
// no escapes, or what is wrong with it. jsontext reports half a surrogate pair
// (RFC 8259 §8.2) as invalid UTF-8, of which value is known to have none.
func unquote(value []byte) (text []byte, detail string) {
	if value[0] != '"' {
		return nil, "must be a string"
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1], ""
	}
	text, err := jsontext.AppendUnquote(make([]byte, 0, len(value)), value)
	if err != nil {
		return nil, `holds half a surrogate pair (\ud800 to \udfff), which no UTF-8 text can`
	}
	return text, ""
}
