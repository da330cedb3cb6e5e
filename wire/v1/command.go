package v1

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"belfry/message"
	"belfry/message/strictjson"
	"belfry/wire"
)

// Limits of one belfry.v1 command.
const (
	maxRefLen        = 64                     // bytes of a ref in JSON, with its quotes
	maxCommandTopics = message.MaxTargetNames // topics in one sub or unsub
	defaultMaxTokens = 1024                   // of Encoding.MaxTokens
)

// badRequest is the CommandError code for a payload that is not a valid command.
const badRequest = "bad_request"

// Command reads the command in p; a payload has exactly one. It refuses fields
// that are unknown, repeated or not for this command, so that a misspelt field is
// not ignored. Errors are *wire.CommandError with the code bad_request. The
// Command holds only copies.
func (e Encoding) Command(p []byte, kind message.Kind) (cmd wire.Command, rest []byte, err error) {
	if kind != message.Text {
		return cmd, nil, &wire.CommandError{Code: badRequest, Text: "a command is a text message, not a binary one"}
	}
	var f fields
	err = f.parse(p, e.MaxTokens)
	ref, refErr := f.ref() // also after an error of parse: the reply needs it
	if err == nil {
		err = refErr
	}
	cmd.Ref = ref
	if err == nil {
		err = f.fill(&cmd)
	}
	if err == nil {
		return cmd, nil, nil
	}
	refused := &wire.CommandError{Code: badRequest, Ref: ref, Text: err.Error()}
	if invalid, ok := errors.AsType[*message.FieldError](err); ok {
		refused.Field = invalid.Field
	}
	return wire.Command{}, nil, refused
}

// fields are the fields of a command.
type fields struct{ strictjson.Object }

// parse reads the fields of the object in p. After an error, f has the fields
// before the error.
func (f *fields) parse(p []byte, maxTokens int) error {
	f.MaxTokens = cmp.Or(maxTokens, defaultMaxTokens)
	err := f.Parse(p)
	if syntax, ok := errors.AsType[*strictjson.SyntaxError](err); ok {
		return fmt.Errorf("%w: %s", strictjson.ErrNotObject, syntax.Detail)
	}
	return err
}

// ref returns the field ref as its JSON token, "" if there is none.
func (f *fields) ref() (string, error) {
	raw := f.Value("ref")
	if raw == nil {
		return "", nil
	}
	if c := raw[0]; c != '"' && c != '-' && (c < '0' || c > '9') {
		return "", &message.FieldError{Field: "ref", Detail: "must be a string or a number"}
	}
	if len(raw) > maxRefLen {
		return "", &message.FieldError{Field: "ref", Detail: fmt.Sprintf("%d bytes long; allowed are 1 to %d", len(raw), maxRefLen)}
	}
	return string(raw), nil
}

// fill reads the fields of the command that "type" names.
func (f *fields) fill(cmd *wire.Command) error {
	raw, err := f.required("type")
	if err != nil {
		return err
	}
	name, err := strictjson.String("type", raw)
	if err != nil {
		return err
	}
	switch name {
	case "sub":
		cmd.Op = wire.OpSub
		return f.fillTopics(cmd)
	case "unsub":
		cmd.Op = wire.OpUnsub
		return f.fillTopics(cmd)
	case "pub":
		cmd.Op = wire.OpPub
		return f.fillPub(cmd)
	case "ping":
		cmd.Op = wire.OpPing
		return f.only("type", "ref")
	case "presence":
		cmd.Op = wire.OpPresence
		return f.fillPresence(cmd)
	case "ack":
		cmd.Op = wire.OpAck
		return f.fillAck(cmd)
	case "auth":
		cmd.Op = wire.OpAuth
		return f.fillAuth(cmd)
	case "send":
		cmd.Op = wire.OpSend
		return f.fillSend(cmd)
	case "rpc":
		cmd.Op = wire.OpRPC
		return f.fillSend(cmd)
	}
	return &message.FieldError{Field: "type", Detail: fmt.Sprintf("%q; allowed are sub, unsub, pub, send, rpc, ack, presence, auth and ping", strictjson.Shorten(name))}
}

// only refuses fields that are not allowed. If there are several, it names the
// first one in alphabetical order.
func (f *fields) only(allowed ...string) error {
	unknown, found := "", false
	for _, field := range f.Fields() {
		if isOneOf(field.Name, allowed) {
			continue
		}
		if !found || string(field.Name) < unknown {
			unknown, found = string(field.Name), true
		}
	}
	if !found {
		return nil
	}
	return &message.FieldError{Field: strictjson.Shorten(unknown), Detail: "unknown here; allowed are " + strings.Join(allowed, ", ")}
}

func isOneOf(name []byte, allowed []string) bool {
	return slices.ContainsFunc(allowed, func(a string) bool { return a == string(name) })
}

// required returns the value of a field that must be there.
func (f *fields) required(name string) ([]byte, error) {
	raw := f.Value(name)
	if raw == nil {
		return nil, &message.FieldError{Field: name, Detail: "missing"}
	}
	return raw, nil
}

// fillTopics reads a sub or unsub, which has either "topic" or "topics".
func (f *fields) fillTopics(cmd *wire.Command) (err error) {
	if err := f.only("type", "ref", "topic", "topics"); err != nil {
		return err
	}
	several := f.Value("topics")
	if several == nil {
		cmd.Topics, err = f.topic()
		return err
	}
	if f.Value("topic") != nil {
		return &message.FieldError{Field: "topics", Detail: "give either topic or topics"}
	}
	if cmd.Topics, err = strictjson.Strings("topics", several); err != nil {
		return err
	}
	if n := len(cmd.Topics); n < 1 || n > maxCommandTopics {
		return &message.FieldError{Field: "topics", Detail: fmt.Sprintf("%d names; allowed are 1 to %d", n, maxCommandTopics)}
	}
	for _, topic := range cmd.Topics {
		if err := message.CheckTopic(topic); err != nil {
			return message.Renamed(err, "topics")
		}
	}
	return nil
}

// fillAck reads an ack: the id of the message that the client has processed. An ack is
// not answered, so it has no ref.
func (f *fields) fillAck(cmd *wire.Command) error {
	if err := f.only("type", "id"); err != nil {
		return err
	}
	raw, err := f.required("id")
	if err != nil {
		return err
	}
	if cmd.ID, err = strictjson.String("id", raw); err != nil {
		return err
	}
	if n := len(cmd.ID); n < 1 || n > message.MaxIDLen {
		return &message.FieldError{Field: "id", Detail: fmt.Sprintf("%d bytes long; allowed are 1 to %d", n, message.MaxIDLen)}
	}
	return nil
}

// topic reads "topic" as a list of one.
func (f *fields) topic() ([]string, error) {
	raw, err := f.required("topic")
	if err != nil {
		return nil, err
	}
	topic, err := strictjson.String("topic", raw)
	if err != nil {
		return nil, err
	}
	return []string{topic}, message.CheckTopic(topic)
}

// fillPresence reads a presence: the topic that it asks about.
func (f *fields) fillPresence(cmd *wire.Command) (err error) {
	if err := f.only("type", "ref", "topic"); err != nil {
		return err
	}
	if err := f.needsRef(cmd); err != nil {
		return err
	}
	cmd.Topics, err = f.topic()
	return err
}

// fillPub reads a pub: its target and its payload.
func (f *fields) fillPub(cmd *wire.Command) error {
	if err := f.only("type", "ref", "to", "data", "binary"); err != nil {
		return err
	}
	to, err := f.required("to")
	if err != nil {
		return err
	}
	if cmd.Target, err = strictjson.Target(to); err != nil {
		return err
	}
	data, err := f.required("data")
	if err != nil {
		return err
	}
	return f.fillPayload(cmd, data)
}

// fillPayload reads "data", of which raw is the value, as "binary" says.
func (f *fields) fillPayload(cmd *wire.Command, raw []byte) error {
	binary, err := f.isBinary()
	if err != nil {
		return err
	}
	if !binary {
		cmd.Payload, err = strictjson.Bytes("data", raw)
		return err
	}
	cmd.Kind = message.Binary
	cmd.Payload, err = strictjson.Base64("data", raw)
	return err
}

// isBinary reads "binary"; without it, a payload is text.
func (f *fields) isBinary() (bool, error) {
	switch string(f.Value("binary")) {
	case "true":
		return true, nil
	case "false", "":
		return false, nil
	}
	return false, &message.FieldError{Field: "binary", Detail: "must be true or false"}
}
