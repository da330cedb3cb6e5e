package gateway

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"belfry/message"
	"belfry/message/strictjson"
	"belfry/session"
)

// CommandsType is the media type of an answer that is a list of commands.
const CommandsType = "application/vnd.belfry.commands+json"

// maxCommands limits the commands of one answer.
const maxCommands = 256

// commandType is what a command of a backend does.
type commandType uint8

const (
	push commandType = iota
	subscribe
	unsubscribe
	meta
	closing
	reply
	commandTypes
)

var commandNames = [commandTypes]string{"push", "subscribe", "unsubscribe", "meta", "close", "reply"}

// fieldsOf are the fields of each type besides "type".
var fieldsOf = [commandTypes][]string{
	push:        {"to", "key", "data", "binary"},
	subscribe:   {"topic", "topics"},
	unsubscribe: {"topic", "topics"},
	meta:        {"meta"},
	closing:     {"code", "reason"},
	reply:       {"data", "binary"},
}

// command is a command of a backend. It concerns the session of the event.
type command struct {
	kind   commandType
	target *message.Target // of push; nil: the session
	key    string          // of push
	data   data            // of push and reply
	topics []string        // of subscribe and unsubscribe
	meta   []byte          // of meta; nil: none
	code   uint16          // of close
	reason string          // of close
}

// parseCommands reads {"commands": […]}. If one command is not valid, none is
// carried out. The errors name the command by its place, from 0.
func parseCommands(body []byte) ([]command, error) {
	var o strictjson.Object
	if err := o.Parse(body); err != nil {
		return nil, err
	}
	var raw []json.RawMessage
	for _, f := range o.Fields() {
		if string(f.Name) != "commands" {
			return nil, &message.FieldError{Field: strictjson.Shorten(string(f.Name)), Detail: "unknown here; allowed is commands"}
		}
		if err := json.Unmarshal(f.Value, &raw); err != nil || f.Value[0] != '[' {
			return nil, &message.FieldError{Field: "commands", Detail: "must be a list of objects"}
		}
	}
	if n := len(raw); n > maxCommands || len(o.Fields()) == 0 {
		return nil, &message.FieldError{Field: "commands", Detail: fmt.Sprintf("%d; a list of 0 to %d is needed", n, maxCommands)}
	}
	list := make([]command, len(raw))
	for i, one := range raw {
		if err := list[i].parse(one); err != nil {
			return nil, fmt.Errorf("commands[%d]: %w", i, err)
		}
	}
	return list, nil
}

func (c *command) parse(raw []byte) error {
	var o strictjson.Object
	if err := o.Parse(raw); err != nil {
		return err
	}
	name := ""
	if v := o.Value("type"); v != nil {
		var err error
		if name, err = strictjson.String("type", v); err != nil {
			return err
		}
	}
	kind := slices.Index(commandNames[:], name)
	if kind < 0 {
		return &message.FieldError{Field: "type", Detail: fmt.Sprintf("%q; allowed are %s", strictjson.Shorten(name), strings.Join(commandNames[:], ", "))}
	}
	c.kind = commandType(kind)
	for _, f := range o.Fields() {
		if string(f.Name) != "type" && !slices.Contains(fieldsOf[kind], string(f.Name)) {
			return &message.FieldError{Field: strictjson.Shorten(string(f.Name)), Detail: "unknown here; allowed are type, " + strings.Join(fieldsOf[kind], ", ")}
		}
	}
	switch c.kind {
	case push:
		return c.parsePush(&o)
	case subscribe, unsubscribe:
		return c.parseTopics(&o)
	case meta:
		return c.parseMeta(&o)
	case closing:
		return c.parseClose(&o)
	}
	return c.parseData(&o, false)
}

func (c *command) parsePush(o *strictjson.Object) error {
	if raw := o.Value("to"); raw != nil {
		target, err := strictjson.Target(raw)
		if err != nil {
			return err
		}
		if err := target.Check(); err != nil {
			return err
		}
		c.target = &target
	}
	if raw := o.Value("key"); raw != nil {
		var err error
		if c.key, err = strictjson.String("key", raw); err != nil {
			return err
		}
		if err := message.CheckKey(c.key); err != nil {
			return err
		}
	}
	return c.parseData(o, true)
}

// parseData reads "data": a string is text, or with "binary" bytes in base64; any
// other JSON value is sent as it is written.
func (c *command) parseData(o *strictjson.Object, required bool) (err error) {
	binary := false
	switch string(o.Value("binary")) {
	case "true":
		binary = true
	case "false", "":
	default:
		return &message.FieldError{Field: "binary", Detail: "must be true or false"}
	}
	raw := o.Value("data")
	switch {
	case raw == nil && required:
		return &message.FieldError{Field: "data", Detail: "missing"}
	case raw == nil:
	case binary:
		c.data.kind = message.Binary
		c.data.bytes, err = strictjson.Base64("data", raw)
	case raw[0] == '"':
		c.data.bytes, err = strictjson.Bytes("data", raw)
	default:
		c.data.json, c.data.bytes = true, raw
	}
	return err
}

func (c *command) parseTopics(o *strictjson.Object) (err error) {
	one, several := o.Value("topic"), o.Value("topics")
	switch {
	case (one == nil) == (several == nil):
		return &message.FieldError{Field: "topics", Detail: "give either topic or topics"}
	case one != nil:
		c.topics = make([]string, 1)
		c.topics[0], err = strictjson.String("topic", one)
	default:
		c.topics, err = strictjson.Strings("topics", several)
	}
	if err != nil {
		return err
	}
	if n := len(c.topics); n < 1 || n > message.MaxTargetNames {
		return &message.FieldError{Field: "topics", Detail: fmt.Sprintf("%d names; allowed are 1 to %d", n, message.MaxTargetNames)}
	}
	for _, topic := range c.topics {
		if err := message.CheckTopic(topic); err != nil {
			return err
		}
	}
	return nil
}

func (c *command) parseMeta(o *strictjson.Object) error {
	raw := o.Value("meta")
	switch {
	case string(raw) == "null":
		return nil
	case raw == nil || raw[0] != '{' || len(raw) > session.MaxMeta:
		return &message.FieldError{Field: "meta", Detail: fmt.Sprintf("must be an object of at most %d bytes, or null", session.MaxMeta)}
	}
	c.meta = raw
	return nil
}

func (c *command) parseClose(o *strictjson.Object) (err error) {
	c.code = 1000
	if raw := o.Value("code"); raw != nil {
		n, err := strconv.ParseUint(string(raw), 10, 16)
		if err != nil || !mayClose(uint16(n)) {
			return &message.FieldError{Field: "code", Detail: "allowed are 1000, 1001, 1008, 1011, 1013, 3000 to 3999 and 4500 to 4999"}
		}
		c.code = uint16(n)
	}
	raw := o.Value("reason")
	if raw == nil {
		return nil
	}
	if c.reason, err = strictjson.String("reason", raw); err == nil && len(c.reason) > maxReason {
		err = &message.FieldError{Field: "reason", Detail: fmt.Sprintf("%d bytes long; allowed are up to %d", len(c.reason), maxReason)}
	}
	return err
}

// mayClose says whether a backend may close with a code. 4000 to 4499 are belfry's own.
func mayClose(code uint16) bool {
	return session.MayClose(code) && (code < 4000 || code >= 4500)
}

// runCommands carries out the commands of an answer, in their order, and answers the
// client. After a command that fails, the others are not carried out.
func (g *Gateway) runCommands(e *event, body []byte) {
	list, err := parseCommands(body)
	if err != nil {
		g.warnAnswer(e, err)
		g.fail(e, causeAnswer, "")
		return
	}
	e.answered = !e.awaitsAnswer()
	for i := range list {
		c := &list[i]
		g.count.commands[c.kind].Add(1)
		if err := g.run(e, c); err != nil {
			g.count.cmdsFailed.Add(1)
			g.warnAnswer(e, fmt.Errorf("commands[%d]: %s: %w", i, commandNames[c.kind], err))
			if !e.answered {
				g.fail(e, causeFailed, "")
				return
			}
			break
		}
	}
	e.route.results[resultCommands].Add(1)
	g.ack(e)
}

func (g *Gateway) run(e *event, c *command) error {
	s, sid := *g.sessions.Load(), e.client.SID
	switch c.kind {
	case push:
		if c.target != nil {
			return g.publish(&message.Message{Target: *c.target, Kind: c.data.kind, Key: c.key, Payload: c.data.bytes})
		}
		return g.sendTo(e, c.key, c.data)
	case subscribe:
		return notGone(s.Subscribe(sid, c.topics))
	case unsubscribe:
		return notGone(s.Unsubscribe(sid, c.topics))
	case meta:
		return notGone(s.SetMeta(sid, c.meta))
	case closing:
		return notGone(s.Close(sid, c.code, c.reason))
	}
	if e.answered {
		return nil // nobody has asked, or a reply came before
	}
	return g.reply(e, c.data)
}

// publish publishes a message. It gives the place in the gate up meanwhile, because
// the bus may wait for busy shards.
func (g *Gateway) publish(m *message.Message) error {
	g.opt.Gate.Leave()
	defer g.opt.Gate.Enter()
	return g.opt.Publisher.Publish(m)
}
