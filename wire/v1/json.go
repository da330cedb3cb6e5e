package v1

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"

	"belfry/message"
)

// jsonFields are the fields of one JSON object, their values not yet read.
type jsonFields map[string]json.RawMessage

// Commands are read on the shard, where nothing else goes on meanwhile. What is
// sure to be refused is not read to its end: 64 KiB of small fields would take
// as long as 40 pushes.
const (
	maxFields = 16                     // of one object; no command has as many
	maxNames  = message.MaxTargetNames // of one array
)

// readFields splits a JSON object into its fields. After an error the fields
// read so far are returned too: a ref among them names the command at fault.
func readFields(p []byte) (jsonFields, error) {
	fields := jsonFields{}
	dec := json.NewDecoder(bytes.NewReader(p))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return fields, errors.New("not a JSON object")
	}
	var repeated error
	for n := 0; dec.More(); n++ {
		if n == maxFields {
			return fields, fmt.Errorf("more than %d fields", maxFields)
		}
		t, err := dec.Token()
		if err != nil {
			return fields, syntaxError(err)
		}
		name, ok := t.(string)
		if !ok {
			return fields, errors.New("not a JSON object: the name of a field must be a string")
		}
		var value json.RawMessage
		if err := dec.Decode(&value); err != nil {
			return fields, syntaxError(err)
		}
		if _, ok := fields[name]; ok {
			repeated = &message.FieldError{Field: shorten(name), Detail: "given more than once"}
			continue
		}
		fields[name] = value
	}
	if _, err := dec.Token(); err != nil {
		return fields, syntaxError(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		return fields, errors.New("something follows the JSON object")
	}
	return fields, repeated
}

func syntaxError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return errors.New("not a JSON object: it ends too early")
	}
	return fmt.Errorf("not a JSON object: %w", err)
}

// str reads a string that must be there; field is its name in errors.
func (f jsonFields) str(name, field string) (string, error) {
	raw, ok := f[name]
	if !ok {
		return "", &message.FieldError{Field: field, Detail: "missing"}
	}
	if raw[0] != '"' {
		return "", &message.FieldError{Field: field, Detail: "must be a string"}
	}
	return unquote(raw, field)
}

// strs reads an array of strings that must be there.
func (f jsonFields) strs(name, field string) ([]string, error) {
	raw, ok := f[name]
	if !ok {
		return nil, &message.FieldError{Field: field, Detail: "missing"}
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') {
		return nil, &message.FieldError{Field: field, Detail: "must be an array of strings"}
	}
	var list []string
	for dec.More() {
		if len(list) == maxNames {
			return nil, &message.FieldError{Field: field, Detail: fmt.Sprintf("more than %d names; allowed are 1 to %d", maxNames, maxNames)}
		}
		var item json.RawMessage
		if dec.Decode(&item) != nil || item[0] != '"' { // null would become "" otherwise
			return nil, &message.FieldError{Field: field, Detail: "must be an array of strings"}
		}
		name, err := unquote(item, field)
		if err != nil {
			return nil, err
		}
		list = append(list, name)
	}
	return list, nil
}

// boolean reads true or false; a field that is not there is false.
func (f jsonFields) boolean(name, field string) (bool, error) {
	switch string(f[name]) {
	case "true":
		return true, nil
	case "false", "":
		return false, nil
	}
	return false, &message.FieldError{Field: field, Detail: "must be true or false"}
}

// unquote reads a JSON string. encoding/json turns half a surrogate pair into
// U+FFFD; that would alter data without a word, so it is refused.
func unquote(raw json.RawMessage, field string) (string, error) {
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", &message.FieldError{Field: field, Detail: "must be a string"}
	}
	if strings.ContainsRune(s, utf8.RuneError) && halfSurrogate(raw) {
		return "", &message.FieldError{Field: field, Detail: "holds half a surrogate pair, which no UTF-8 text can"}
	}
	return s, nil
}

// halfSurrogate reports whether the JSON string escapes a surrogate that is
// not part of a pair (RFC 8259 §8.2). raw is valid JSON.
func halfSurrogate(raw []byte) bool {
	for i := 0; i < len(raw); i++ {
		if raw[i] != '\\' {
			continue
		}
		i++ // at the character after the backslash
		first := escapedUnit(raw[i:])
		if !utf16.IsSurrogate(first) {
			continue
		}
		i += 5 // behind the four digits
		if i+1 >= len(raw) || raw[i] != '\\' ||
			utf16.DecodeRune(first, escapedUnit(raw[i+1:])) == utf8.RuneError {
			return true
		}
		i += 5 // at the last digit of the second half
	}
	return false
}

// escapedUnit returns the UTF-16 code unit that p = uXXXX… spells, -1 if p is
// another escape.
func escapedUnit(p []byte) rune {
	if len(p) < 5 || p[0] != 'u' {
		return -1
	}
	unit, err := strconv.ParseUint(string(p[1:5]), 16, 16)
	if err != nil {
		return -1
	}
	return rune(unit)
}
