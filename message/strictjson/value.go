package strictjson

import (
	"bytes"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"belfry/message"
)

// The functions below read the value of a Field, whose syntax Parse has checked.
// Their parameter field is the name that errors give to it. Errors are
// *message.FieldError or *ElementError.

// ElementError reports one invalid element of an array.
type ElementError struct {
	Err   *message.FieldError // names the array
	Index int
}

// Field returns the name of the element, such as "to.topics[1]".
func (e *ElementError) Field() string { return fmt.Sprintf("%s[%d]", e.Err.Field, e.Index) }

func (e *ElementError) Error() string { return e.Field() + ": " + e.Err.Detail }

// Unwrap returns the error that names the array.
func (e *ElementError) Unwrap() error { return e.Err }

// String returns the text of a JSON string.
func String(field string, value []byte) (string, error) {
	text, detail := unquote(value)
	if detail != "" {
		return "", &message.FieldError{Field: field, Detail: detail}
	}
	return string(text), nil
}

// Bytes returns the text of a JSON string as a new slice.
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

// Strings is StringList for at most message.MaxTargetNames strings.
func Strings(field string, value []byte) ([]string, error) {
	return StringList(field, value, message.MaxTargetNames)
}

// StringList returns the strings of a JSON array. It stops with an error after most
// strings if there are more.
func StringList(field string, value []byte, most int) ([]string, error) {
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

// unquote returns the text of a JSON string, borrowed from value if it has no
// escapes. If value is invalid, detail says what is wrong. Parse has checked
// value for UTF-8, so the only error of jsontext is half a surrogate pair
// (RFC 8259 §8.2).
func unquote(value []byte) (text []byte, detail string) {
	if value[0] != '"' {
		return nil, "must be a string"
	}
	if bytes.IndexByte(value, '\\') < 0 {
		return value[1 : len(value)-1], ""
	}
	text, err := jsontext.AppendUnquote(make([]byte, 0, len(value)), value)
	if err != nil {
		return nil, `contains half a surrogate pair (\ud800 to \udfff), which UTF-8 cannot encode`
	}
	return text, ""
}
