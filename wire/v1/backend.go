package v1

import (
	"bytes"
	"fmt"
	"unicode"

	"belfry/message"
	"belfry/message/strictjson"
	"belfry/wire"
)

// maxEvent limits the "event" of a send or rpc, in bytes.
const maxEvent = 128

// fillAuth reads an auth: the token with which the session is renewed.
func (f *fields) fillAuth(cmd *wire.Command) error {
	if err := f.only("type", "ref", "token"); err != nil {
		return err
	}
	if err := f.needsRef(cmd); err != nil {
		return err
	}
	raw, err := f.required("token")
	if err != nil {
		return err
	}
	cmd.Payload, err = strictjson.Bytes("token", raw)
	if err == nil && len(cmd.Payload) == 0 {
		err = &message.FieldError{Field: "token", Detail: "empty"}
	}
	return err
}

// needsRef refuses a command without a ref whose answer says more than that it was
// done.
func (f *fields) needsRef(cmd *wire.Command) error {
	if cmd.Ref == "" {
		return &message.FieldError{Field: "ref", Detail: "missing; this command needs one, because its answer repeats it"}
	}
	return nil
}

// fillSend reads a send or an rpc: a message for a backend.
func (f *fields) fillSend(cmd *wire.Command) (err error) {
	if err := f.only("type", "ref", "event", "topic", "data", "binary"); err != nil {
		return err
	}
	if cmd.Op == wire.OpRPC {
		if err := f.needsRef(cmd); err != nil {
			return err
		}
	}
	if raw := f.Value("event"); raw != nil {
		if cmd.Event, err = event(raw); err != nil {
			return err
		}
	}
	if raw := f.Value("topic"); raw != nil {
		if cmd.Topic, err = strictjson.String("topic", raw); err != nil {
			return err
		}
		if err := message.CheckTopic(cmd.Topic); err != nil {
			return err
		}
	}
	raw := f.Value("data")
	switch {
	case raw == nil:
		_, err := f.isBinary()
		return err
	case raw[0] == '"' || string(f.Value("binary")) == "true":
		return f.fillPayload(cmd, raw)
	}
	// JSON that is no string is passed on as it was written.
	cmd.JSON, cmd.Payload = true, bytes.Clone(raw)
	_, err = f.isBinary()
	return err
}

// event reads the name of what the client sends.
func event(raw []byte) (string, error) {
	name, err := strictjson.String("event", raw)
	if err != nil {
		return "", err
	}
	if n := len(name); n < 1 || n > maxEvent {
		return "", &message.FieldError{Field: "event", Detail: fmt.Sprintf("%d bytes long; allowed are 1 to %d", n, maxEvent)}
	}
	for at, r := range name {
		if unicode.IsControl(r) {
			return "", &message.FieldError{Field: "event", Detail: fmt.Sprintf("a control character at byte %d", at)}
		}
	}
	return name, nil
}
