package gateway

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/session"
	"belfry/webhook"
	"belfry/wire"
)

// result is what became of a call, a label of metrics.
type result uint8

const (
	resultEmpty    result = iota // taken, nothing to send
	resultPushed                 // the body went to the session
	resultCommands               // the commands were carried out
	resultRefused                // 4xx
	resultFailed                 // everything else
	results
)

var resultNames = [results]string{"empty", "pushed", "commands", "refused", "failed"}

// succeed does what a 2xx answer says.
func (g *Gateway) succeed(e *event, a *webhook.Answer) {
	kind := mediaType(a)
	switch {
	case len(a.Body) == 0 || e.kind == Disconnect && kind != CommandsType:
		e.route.results[resultEmpty].Add(1)
		g.ack(e)
	case kind == CommandsType:
		g.runCommands(e, a.Body)
	default:
		if g.push(e, newData(kind, a.Body)) != nil {
			g.fail(e, causeOverload, "")
			return
		}
		e.route.results[resultPushed].Add(1)
	}
}

// push sends the body of an answer to its session: as the answer to an rpc, and as a
// message otherwise. The error says that the session has no room for it.
func (g *Gateway) push(e *event, d data) error {
	if e.kind == Message && e.in.RPC {
		return g.reply(e, d)
	}
	if err := g.sendTo(e, "", d); err != nil {
		return err
	}
	g.ack(e)
	return nil
}

func (g *Gateway) reply(e *event, d data) error {
	err := notGone((*g.sessions.Load()).Reply(e.client.SID, &wire.Reply{Ref: e.in.Ref, Kind: d.kind, Data: d.bytes, JSON: d.json}))
	e.answered = err == nil
	return err
}

func (g *Gateway) sendTo(e *event, key string, d data) error {
	sid := e.client.SID
	return notGone((*g.sessions.Load()).SendTo(sid, &message.Message{ID: g.id(e), Target: message.ToSessions(sid), Kind: d.kind, Key: key, Payload: d.bytes}))
}

// notGone returns err unless it says that the session has ended: nobody misses what
// it would have got.
func notGone(err error) error {
	if errors.Is(err, session.ErrNoSession) {
		return nil
	}
	return err
}

// ack tells a client that its message was taken, if it awaits that.
func (g *Gateway) ack(e *event) {
	if e.awaitsAnswer() && !e.answered {
		e.answered = true
		_ = (*g.sessions.Load()).Reply(e.client.SID, &wire.Reply{Ref: e.in.Ref}) // is refused only if the session is gone
	}
}

// data is what a client gets of a backend.
type data struct {
	kind  message.Kind
	json  bool // bytes is said to be a JSON value
	bytes []byte
}

// newData returns a body with its kind: text for text/* and JSON if it is UTF-8, and
// else binary. Without a media type its bytes decide.
func newData(mediaType string, body []byte) data {
	json := isJSON(mediaType)
	if (json || mediaType == "" || strings.HasPrefix(mediaType, "text/")) && utf8.Valid(body) {
		return data{message.Text, json, body}
	}
	return data{message.Binary, false, body}
}

func isJSON(mediaType string) bool {
	return mediaType == "application/json" || strings.HasSuffix(mediaType, "+json")
}

// mediaType returns the media type of an answer without parameters, in lower case.
func mediaType(a *webhook.Answer) string {
	text, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	return strings.ToLower(strings.TrimSpace(text))
}

// fail tells a client that its message was not taken, or counts an event that the
// backend was not told of.
func (g *Gateway) fail(e *event, why cause, reason string) {
	outcome := resultFailed
	if why == causeRefused {
		outcome = resultRefused
	}
	e.route.results[outcome].Add(1)
	if e.kind != Message {
		g.drop(e, e.route, why)
		return
	}
	e.route.refused[why].Add(1)
	g.answerRefusal(e, e.route, why, reason)
}

// answerRefusal tells a client that its message was refused. r is the route if it is
// known.
func (g *Gateway) answerRefusal(e *event, r *route, why cause, reason string) {
	s, sid := *g.sessions.Load(), e.client.SID
	text := reason
	if text == "" {
		text = causeText[why]
	}
	e.answered = true
	if e.awaitsAnswer() {
		_ = s.Reply(sid, &wire.Reply{Ref: e.in.Ref, Err: &wire.CommandError{Code: codeOf(why), Text: text, Ref: e.in.Ref}})
		return
	}
	if r == nil && why != causeNoRoute { // no room for it: the settings of the first route hold, if one takes messages
		if all := g.sets.get(e.client.Route).byKind[Message]; len(all) > 0 {
			r = all[0]
		}
	}
	if r == nil {
		return
	}
	switch r.OnError {
	case Close:
		_ = s.Close(sid, CloseFailed, text)
	case Text:
		_ = s.SendTo(sid, &message.Message{ID: g.id(e), Target: message.ToSessions(sid), Payload: []byte(text)})
	}
}

// codeOf returns the code of an err.
func codeOf(why cause) string {
	switch why {
	case causeNoRoute:
		return "forbidden"
	case causeRefused:
		return "refused"
	}
	return "unavailable"
}

// maxReason limits a reason that a client is told, in bytes. A close frame has no
// room for more (RFC 6455 §5.5.1).
const maxReason = 120

// reasonOf returns why a backend has refused a message, if it says so for people: a
// short text, or a JSON object with the text as "reason", "message" or "error".
func reasonOf(a *webhook.Answer) string {
	text := ""
	switch kind := mediaType(a); {
	case kind == "text/plain":
		text = string(bytes.TrimSpace(a.Body))
	case isJSON(kind):
		var body struct{ Reason, Message, Error any }
		if json.Unmarshal(a.Body, &body) != nil {
			return ""
		}
		for _, member := range []any{body.Error, body.Message, body.Reason} {
			if s, ok := member.(string); ok {
				text = s
			}
		}
	}
	if len(text) > maxReason || !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl) {
		return ""
	}
	return text
}

// warnAnswer logs an answer that is not valid. It has nothing of the body.
func (g *Gateway) warnAnswer(e *event, err error) {
	g.opt.Log.Warn("the answer of a backend is not valid", zap.String("route", e.route.Name), zap.String("event", g.id(e)), zap.Error(err))
}
