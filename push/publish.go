package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.uber.org/zap"

	"belfry/broadcast"
	"belfry/session"
)

// outgoing is a message with room for the one name most targets have, so that
// both are one allocation.
type outgoing struct {
	session.Message
	name [1]string
}

// pushTo serves POSTs whose body is the payload. param is the wildcard of the
// pattern that holds the name, "" for none.
func (s *Server) pushTo(scope session.Scope, param string) handle {
	return func(w http.ResponseWriter, r *http.Request) int {
		o := new(outgoing)
		o.Received = time.Now()
		o.Target.Scope = scope
		if param != "" {
			o.name[0] = r.PathValue(param)
			o.Target.Names = o.name[:]
			if err := o.Target.Check(); err != nil {
				return s.refuse(w, s.publishProblem(err, "body"))
			}
		}
		p := parseParameters(r.URL.RawQuery, &o.Message)
		if p == nil {
			o.Kind, p = kindOf(r.Header)
		}
		if p == nil {
			o.Payload, p = s.readPayload(r)
		}
		if p == nil && o.Kind == session.Text && !utf8.Valid(o.Payload) {
			p = &problem{cause: CauseField, field: "body",
				detail: "not valid UTF-8; allowed is UTF-8, or any bytes with Content-Type: application/octet-stream"}
		}
		if p == nil {
			if err := s.publish(r.Context(), &o.Message); err != nil {
				p = s.publishProblem(err, "body")
			}
		}
		if p != nil {
			return s.refuse(w, p)
		}
		s.count.payloadBytes.Add(uint64(len(o.Payload)))
		return accepted(w, o.ID)
	}
}

// publish publishes m when its receivers are ready for it. A client that is
// gone by then was told nothing, and would push again.
func (s *Server) publish(ctx context.Context, m *session.Message) error {
	if s.opt.Pace != nil {
		waited, done := s.opt.Pace(ctx, m.Target, s.opt.PushWait)
		defer done()
		if waited {
			s.count.paced.Add(1)
		}
		if waited && ctx.Err() != nil {
			return &broadcast.OverloadedError{What: "shard", RetryAfter: time.Second, Err: context.Cause(ctx)}
		}
	}
	return s.opt.Publisher.Publish(m)
}

// publishProblem tells a client about an error of the Publisher or of a check.
// payload is the field that holds the payload.
func (s *Server) publishProblem(err error, payload string) *problem {
	var field *session.FieldError
	var large *broadcast.TooLargeError
	var full *broadcast.OverloadedError
	switch {
	case errors.As(err, &field):
		return &problem{cause: CauseField, field: field.Field, detail: field.Problem}
	case errors.As(err, &large):
		return &problem{cause: CausePayloadTooLarge, field: payload, detail: large.Error()}
	case errors.As(err, &full):
		return &problem{cause: CauseOverloaded, detail: full.Error() + "; nothing was delivered, so a retry doubles nothing", retryAfter: full.RetryAfter}
	}
	return s.internal("publish failed", err)
}

// internal logs a fault of ours and tells the client no more than that.
func (s *Server) internal(what string, err error) *problem {
	s.log.Error(what, zap.Error(err))
	return &problem{cause: CauseInternal, detail: faultDetail}
}

// answerBuffers are reused: the bytes of a 202 are on their way when Write
// returns, unlike a payload, which lives on.
var answerBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 192); return &b }}

// accepted answers 202 with the message's id.
func accepted(w http.ResponseWriter, id string) int {
	buf := answerBuffers.Get().(*[]byte)
	b := append((*buf)[:0], `{"id":`...)
	b = appendString(b, id)
	b = append(b, '}', '\n')
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(http.StatusAccepted)
	w.Write(b)
	*buf = b
	answerBuffers.Put(buf)
	return http.StatusAccepted
}

// parseParameters reads ?exclude= and ?key= into m.
func parseParameters(raw string, m *session.Message) *problem {
	if raw == "" {
		return nil
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return &problem{cause: CauseParameter, detail: "the query is malformed: " + err.Error()}
	}
	for name, v := range values {
		if name != "exclude" && name != "key" {
			return unknownParameter(name, "exclude and key")
		}
		if len(v) != 1 {
			return &problem{cause: CauseField, field: name, detail: fmt.Sprintf("given %d times; allowed is once", len(v))}
		}
		if name == "exclude" {
			m.Exclude = v[0]
			err = checkExclude(m.Exclude)
		} else {
			m.Key = v[0]
			err = checkKey(m.Key)
		}
		if fe := (*session.FieldError)(nil); errors.As(err, &fe) {
			return &problem{cause: CauseField, field: fe.Field, detail: fe.Problem}
		}
	}
	return nil
}

// noParameters refuses any query.
func noParameters(raw string) *problem {
	if raw == "" {
		return nil
	}
	name, _, _ := strings.Cut(raw, "=")
	return unknownParameter(name, "none here")
}

func unknownParameter(name, allowed string) *problem {
	return &problem{cause: CauseParameter, field: name, detail: fmt.Sprintf("no parameter %q; allowed are %s", name, allowed)}
}

func checkExclude(sid string) error {
	if err := session.CheckID(sid); err != nil {
		return renamed(err, "exclude")
	}
	return nil
}

// checkKey holds the key of latest-only to the rules of uids.
func checkKey(key string) error {
	if err := session.CheckUID(key); err != nil {
		return renamed(err, "key")
	}
	return nil
}

// renamed returns the *session.FieldError err with another field name.
func renamed(err error, field string) error {
	var fe *session.FieldError
	if !errors.As(err, &fe) {
		return err
	}
	return &session.FieldError{Field: field, Problem: fe.Problem}
}

// kindOf says by Content-Type which frame a body becomes, and refuses bodies
// that would have to be decoded before they are what the sender meant.
func kindOf(h http.Header) (session.Kind, *problem) {
	if p := plainBody(h); p != nil {
		return 0, p
	}
	if strings.EqualFold(mediaType(h), "application/octet-stream") {
		return session.Binary, nil
	}
	return session.Text, nil
}

// plainBody refuses compressed and multipart bodies.
func plainBody(h http.Header) *problem {
	if enc := h.Get("Content-Encoding"); enc != "" && !strings.EqualFold(enc, "identity") {
		return &problem{cause: CauseMediaType, field: "Content-Encoding", detail: fmt.Sprintf("%q; allowed is a body that is not encoded", enc)}
	}
	if mt := mediaType(h); len(mt) >= 10 && strings.EqualFold(mt[:10], "multipart/") {
		return &problem{cause: CauseMediaType, field: "Content-Type",
			detail: "multipart bodies are not taken apart; send the data itself (curl: -d or --data-binary, not -F)"}
	}
	return nil
}

// mediaType returns the Content-Type without its parameters.
func mediaType(h http.Header) string {
	mt, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.TrimSpace(mt)
}

// bodyBuffers serve bodies of unknown length until their length is known.
var bodyBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooledBuffer keeps a few huge bodies from staying in the pools.
const maxPooledBuffer = 128 << 10

// readPayload reads the body into memory of exactly its size: the message
// keeps it for as long as it waits for slow readers.
func (s *Server) readPayload(r *http.Request) ([]byte, *problem) {
	most := s.opt.MaxPayload
	n := r.ContentLength
	if n > int64(most) {
		return nil, payloadTooLarge("body", fmt.Sprint(n), most)
	}
	if n >= 0 {
		payload := make([]byte, n)
		if _, err := io.ReadFull(r.Body, payload); err != nil {
			return nil, bodyProblem(err)
		}
		return payload, nil
	}
	buf := bodyBuffers.Get().(*bytes.Buffer)
	defer func() {
		if buf.Cap() <= maxPooledBuffer {
			bodyBuffers.Put(buf)
		}
	}()
	buf.Reset()
	if _, err := buf.ReadFrom(io.LimitReader(r.Body, int64(most)+1)); err != nil {
		return nil, bodyProblem(err)
	}
	if buf.Len() > most {
		return nil, payloadTooLarge("body", fmt.Sprintf("more than %d", most), most)
	}
	return append(make([]byte, 0, buf.Len()), buf.Bytes()...), nil
}

func payloadTooLarge(field, size string, most int) *problem {
	return &problem{cause: CausePayloadTooLarge, field: field, detail: fmt.Sprintf("%s bytes; allowed are at most %d", size, most)}
}

// bodyProblem tells why a body could not be read.
func bodyProblem(err error) *problem {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &problem{cause: CauseSlow, field: "body", detail: "the body did not arrive in time"}
	}
	return &problem{cause: CauseBody, field: "body", detail: "the body broke off: " + err.Error()}
}
