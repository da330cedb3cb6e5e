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
	report report.Query // without a Wait: nothing is awaited
}

// allowedParameters are those that parse knows.
const allowedParameters = "exclude, key, wait and ack"

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
	if p.report.Ack && p.report.Wait == 0 {
		return &message.FieldError{Field: "ack", Detail: "acknowledgements are awaited only with wait, such as wait=2s"}
	}
	return nil
}
