package push

import (
	"fmt"
	"net/url"
	"time"

	"belfry/message"
	"belfry/report"
)

// parameters are what the query of a push, or a line of a batch, asks for beside the
// message.
type parameters struct {
	report report.Query  // without a Wait: nothing is awaited
	ttl    time.Duration // for which the message lives; 0: no limit
	spread time.Duration // over which the message is sent; 0: at once
}

// allowedParameters are those that parse knows.
const allowedParameters = "exclude, key, ttl, spread, wait and ack"

// parse reads the query of a push into p and m.
func (p *parameters) parse(raw string, m *message.Message) *problem {
	if raw == "" {
		return nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return &problem{cause: CauseParameter, detail: "the query is malformed: " + err.Error()}
	}
	for name, v := range values {
		if len(v) != 1 {
			return &problem{cause: CauseField, field: name, detail: fmt.Sprintf("given %d times; allowed is once", len(v))}
		}
		switch name {
		case "exclude":
			m.Target.Exclude = v[0]
			err = checkExclude(m.Target.Exclude)
		case "key":
			m.Key = v[0]
			err = message.CheckKey(m.Key)
		case "ttl":
			err = p.parseTTL(v[0])
		case "spread":
			err = p.parseSpread(v[0])
		case "wait":
			err = p.parseWait(v[0])
		case "ack":
			err = p.parseAck(v[0])
		default:
			return unknownParameter(name, allowedParameters)
		}
		if err != nil {
			return asProblem(err)
		}
	}
	if err := p.check(); err != nil {
		return asProblem(err)
	}
	return nil
}

// parseTTL reads how long the message lives.
func (p *parameters) parseTTL(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Millisecond || d > message.MaxTTL {
		return &message.FieldError{Field: "ttl", Detail: fmt.Sprintf("not a duration in the range; allowed are 1ms to %v, such as 500ms or 30s", message.MaxTTL)}
	}
	p.ttl = d
	return nil
}

// parseSpread reads the time over which the message is sent. Whether the target can be
// spread is checked with the message.
func (p *parameters) parseSpread(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < message.MinSpread {
		d = 1 // not in the range
	}
	if err := message.CheckSpread(d, message.ScopeAll); err != nil {
		return err
	}
	p.spread = d.Truncate(time.Millisecond)
	return nil
}

// apply changes the message as the parameters say. m.Received is set.
func (p *parameters) apply(m *message.Message) {
	if p.ttl > 0 {
		m.Expires = m.Received.Add(p.ttl)
	}
	m.Spread = p.spread
}

// parseWait reads how long the reports of the nodes are awaited.
func (p *parameters) parseWait(text string) error {
	d, err := time.ParseDuration(text)
	if err != nil || d < report.MinWait || d > report.MaxWait {
		return &message.FieldError{Field: "wait", Detail: fmt.Sprintf("not a duration in the range; allowed are %v to %v, such as 500ms or 2s", report.MinWait, report.MaxWait)}
	}
	p.report.Wait = d
	return nil
}

// parseAck reads whether acknowledgements of clients are awaited.
func (p *parameters) parseAck(text string) error {
	switch text {
	case "1", "true":
		p.report.Ack = true
	case "0", "false":
		p.report.Ack = false
	default:
		return &message.FieldError{Field: "ack", Detail: "allowed are 1 and 0"}
	}
	return nil
}

// check says what does not go together.
func (p *parameters) check() error {
	if p.spread > 0 && p.report.Wait > 0 {
		return &message.FieldError{Field: "spread", Detail: "not together with wait: what becomes of the message is known when its time is over"}
	}
	if p.report.Ack && p.report.Wait == 0 {
		return &message.FieldError{Field: "ack", Detail: "acknowledgements are awaited only with wait, such as wait=2s"}
	}
	return nil
}
