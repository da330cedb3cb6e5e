package push

import (
	"errors"
	"fmt"

	"belfry/message"
	"belfry/message/strictjson"
)

// parseItem parses one line of a batch. The item does not keep line.
func parseItem(line []byte, maxPayload int) (*item, *problem) {
	it := &item{maxPayload: maxPayload}
	if err := it.parse(line); err != nil {
		return nil, asProblem(err)
	}
	return it, nil
}

// asProblem returns the problem for an error in a line.
func asProblem(err error) *problem {
	if element, ok := errors.AsType[*strictjson.ElementError](err); ok {
		return &problem{cause: CauseField, field: element.Field(), detail: element.Err.Detail}
	}
	if invalid, ok := errors.AsType[*message.FieldError](err); ok {
		return fieldProblem(invalid)
	}
	if large, ok := errors.AsType[*message.TooLargeError](err); ok {
		return payloadTooLarge(large.What, fmt.Sprint(large.Size), large.Max)
	}
	detail := err.Error()
	switch err {
	case strictjson.ErrUTF8:
		detail += "; send other bytes as base64"
	case strictjson.ErrNotObject:
		detail += `; allowed is an object such as {"to":{"topic":"news"},"text":"hello"}`
	}
	return &problem{cause: CauseLine, detail: detail}
}

// item is the message that one line of a batch pushes.
type item struct {
	m          message.Message
	maxPayload int    // bytes
	data       string // name of the field with the payload: "text", "json" or "base64"
	params     parameters
}

// parse reads a line.
func (it *item) parse(line []byte) error {
	var o strictjson.Object
	if err := o.Parse(line); err != nil {
		return err
	}
	for _, f := range o.Fields() {
		if err := it.field(f); err != nil {
			return err
		}
	}
	if o.Value("to") == nil {
		return &message.FieldError{Field: "to", Detail: `missing; allowed is an object such as {"all":true} or {"topic":"news"}`}
	}
	if it.data == "" {
		return &message.FieldError{Field: "text", Detail: "missing; allowed is one of text, json and base64"}
	}
	return it.params.check()
}

// field reads one field of a line.
func (it *item) field(f strictjson.Field) (err error) {
	switch string(f.Name) {
	case "to":
		var to message.Target
		to, err = strictjson.Target(f.Value)
		it.m.Target.Scope, it.m.Target.Names = to.Scope, to.Names
		return err
	case "text":
		return it.payload("text", f.Value)
	case "json":
		return it.payload("json", f.Value)
	case "base64":
		return it.payload("base64", f.Value)
	case "exclude":
		if it.m.Target.Exclude, err = strictjson.String("exclude", f.Value); err != nil {
			return err
		}
		return checkExclude(it.m.Target.Exclude)
	case "key":
		if it.m.Key, err = strictjson.String("key", f.Value); err != nil {
			return err
		}
		return message.CheckKey(it.m.Key)
	case "wait":
		text, err := strictjson.String("wait", f.Value)
		if err != nil {
			return err
		}
		return it.params.parseWait(text)
	case "ack":
		if text := string(f.Value); text == "true" || text == "false" {
			return it.params.parseAck(text)
		}
		return &message.FieldError{Field: "ack", Detail: "must be true or false"}
	}
	return &message.FieldError{Field: strictjson.Shorten(string(f.Name)), Detail: "unknown; allowed are to, text, json, base64, exclude, key, wait and ack"}
}

// payload reads the payload from one of its three fields.
func (it *item) payload(field string, value []byte) (err error) {
	if it.data != "" {
		return &message.FieldError{Field: field, Detail: fmt.Sprintf("the line already has %s; allowed is one of text, json and base64", it.data)}
	}
	it.data = field
	switch field {
	case "text":
		it.m.Payload, err = strictjson.Bytes(field, value)
	case "json":
		it.m.Payload = append(make([]byte, 0, len(value)), value...)
	case "base64":
		it.m.Kind = message.Binary
		it.m.Payload, err = strictjson.Base64(field, value)
	}
	if err != nil {
		return err
	}
	if n := len(it.m.Payload); n > it.maxPayload {
		return &message.TooLargeError{What: field, Size: n, Max: it.maxPayload}
	}
	return nil
}
