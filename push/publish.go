package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"unicode/utf8"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/message/strictjson"
	"belfry/report"
)

// outgoing is a message with room for one name of its target, so that message and
// names are one allocation. Most targets have one name.
type outgoing struct {
	message.Message
	name [1]string
}

// pushTo returns a handle for POSTs whose body is the payload. param is the
// wildcard of the pattern for the name of the target, "" if there is no name.
func (s *Server) pushTo(scope message.Scope, param string) handle {
	return func(w http.ResponseWriter, r *http.Request, c call) int {
		o := new(outgoing)
		o.Received = c.begun
		o.Target.Scope = scope
		if param != "" {
			o.name[0] = r.PathValue(param)
			o.Target.Names = o.name[:]
			if err := o.Target.Check(); err != nil {
				return s.refuse(w, s.publishProblem(err, "body"))
			}
		}
		var params parameters
		p := params.parse(r.URL.RawQuery, &o.Message)
		if p == nil {
			o.Kind, p = checkBody(r)
		}
		if p == nil {
			if o.Payload, p = s.readBody(r, c.conn, s.opt.MaxPayload); p != nil && (p.cause == CauseSlow || p.cause == CauseBody) {
				w.Header()["Connection"] = closeConn // the rest of the body may still arrive
			}
		}
		if p == nil && o.Kind == message.Text && !utf8.Valid(o.Payload) {
			p = &problem{cause: CauseField, field: "body",
				detail: "not valid UTF-8; allowed is UTF-8, or any bytes with Content-Type: application/octet-stream"}
		}
		var pending *report.Pending
		ctx, gone := c.conn.whileThere(r)
		if p == nil {
			pending, p = s.publish(ctx, gone, &o.Message, "body", params.report)
		}
		if p != nil {
			return s.refuse(w, p)
		}
		s.count.payloadBytes.Add(uint64(len(o.Payload)))
		c.key.pushes.Add(1)
		if pending != nil {
			return s.reported(w, ctx, gone, pending, params.report.Wait)
		}
		return accepted(w, o.ID)
	}
}

// publish publishes m, if need be after a wait for busy shards. After a wait it
// calls gone, unless gone is nil: if the client has gone away, m is not published,
// because the client gets no answer and will push again. payload is the name of the
// field with the payload. If q asks for a wait, the caller awaits the reports.
func (s *Server) publish(ctx context.Context, gone func() bool, m *message.Message, payload string, q report.Query) (pending *report.Pending, p *problem) {
	defer s.leave()
	if p := s.enter(); p != nil {
		return nil, p
	}
	if q.Wait > 0 && s.opt.Reports == nil {
		return nil, fieldProblem(&message.FieldError{Field: "wait", Detail: "this server has no reports"})
	}
	var waited bool
	var err error
	wait := message.Wait{Time: s.opt.PushWait, Others: max(1, s.opt.MaxRequests/2), Gone: gone}
	if q.Wait > 0 {
		pending, waited, err = s.opt.Reports.Publish(ctx, m, wait, q)
	} else {
		waited, err = s.opt.Publisher.PublishWithin(ctx, m, wait)
	}
	if waited {
		s.count.waited.Add(1)
	}
	if err != nil {
		return nil, s.publishProblem(err, payload)
	}
	return pending, nil
}

// publishProblem returns the problem for an error of the Publisher or of a check.
// payload is the name of the field with the payload.
func (s *Server) publishProblem(err error, payload string) *problem {
	var field *message.FieldError
	var large *message.TooLargeError
	var full *message.OverloadedError
	switch {
	case errors.As(err, &field):
		return fieldProblem(field)
	case errors.As(err, &large):
		return &problem{cause: CausePayloadTooLarge, field: payload, detail: large.Error()}
	case errors.As(err, &full):
		if full.Queue {
			s.count.waitRefused.Add(1)
		}
		return &problem{cause: CauseOverloaded, detail: full.Error() + "; nothing was delivered, so a retry causes no duplicates", retryAfter: full.RetryAfter}
	}
	return s.internal("publish failed", err)
}

// fieldProblem returns the problem for an invalid field.
func fieldProblem(invalid *message.FieldError) *problem {
	return &problem{cause: CauseField, field: invalid.Field, detail: invalid.Detail}
}

// internal logs a fault of belfry. The problem that it returns has no details of
// the fault.
func (s *Server) internal(what string, err error) *problem {
	s.log.Error(what, zap.Error(err))
	return &problem{cause: CauseInternal, detail: faultDetail}
}

// answerBuffers has buffers for the bodies of 202 answers. They can be reused when
// Write returns, because net/http has then copied or written them.
var answerBuffers = sync.Pool{New: func() any { b := make([]byte, 0, 192); return &b }}

// accepted answers 202 with the id of the message.
func accepted(w http.ResponseWriter, id string) int {
	buf := answerBuffers.Get().(*[]byte)
	b := append((*buf)[:0], `{"id":`...)
	b = strictjson.AppendString(b, id)
	b = append(b, '}', '\n')
	w.Header()["Content-Type"] = jsonType
	w.WriteHeader(http.StatusAccepted)
	w.Write(b)
	*buf = b
	answerBuffers.Put(buf)
	return http.StatusAccepted
}

// noParameters refuses every query.
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
	if err := message.CheckSID(sid); err != nil {
		return message.Renamed(err, "exclude")
	}
	return nil
}

// bodyBuffers has buffers for bodies whose length is not known before their end.
var bodyBuffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// maxPooledBuffer is the size in bytes above which a buffer is not put back into
// its pool, so that the pools do not keep the memory of a few large bodies.
const maxPooledBuffer = 128 << 10

// firstRead is the largest number of bytes that are allocated for a body before its
// first byte has arrived.
const firstRead = 64 << 10

// readBody reads a body of at most most bytes into a slice of exactly its size,
// because a message keeps the slice until the slowest client has it.
func (s *Server) readBody(r *http.Request, c *conn, most int) ([]byte, *problem) {
	n := r.ContentLength
	if n > int64(most) {
		return nil, payloadTooLarge("body", fmt.Sprint(n), most)
	}
	if n == 0 || n > 0 && c.whole() { // the body is in the buffer of net/http
		return readSmall(r.Body, int(n))
	}
	defer s.bodies.leave(false)
	if p := s.bodies.enter(false); p != nil {
		return nil, p
	}
	if n > 0 && n <= firstRead {
		held := heldBytes{bodies: &s.bodies}
		defer held.release()
		if err := held.take(int(n)); err != nil {
			return nil, bodyProblem(err)
		}
		return readSmall(r.Body, int(n))
	}
	return s.readLarge(r.Body, int(n), most)
}

// readSmall reads a body of n bytes.
func readSmall(body io.Reader, n int) ([]byte, *problem) {
	payload := make([]byte, n)
	if _, err := io.ReadFull(body, payload); err != nil {
		return nil, bodyProblem(err)
	}
	return payload, nil
}

// readLarge reads a body of n bytes, more than firstRead. If n is negative, the
// length of the body is unknown: then it may have most bytes.
func (s *Server) readLarge(body io.Reader, n, most int) ([]byte, *problem) {
	held := heldBytes{bodies: &s.bodies}
	defer held.release()
	src := heldReader{body, &held}
	if n > 0 {
		payload, err := readSized(src, n)
		if err != nil {
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
	if _, err := buf.ReadFrom(io.LimitReader(src, int64(most)+1)); err != nil {
		return nil, bodyProblem(err)
	}
	if buf.Len() > most {
		return nil, payloadTooLarge("body", fmt.Sprintf("more than %d", most), most)
	}
	return append(make([]byte, 0, buf.Len()), buf.Bytes()...), nil
}

// readSized reads n bytes. It allocates memory as they arrive, because a client
// may announce more than it sends.
func readSized(src io.Reader, n int) ([]byte, error) {
	payload := make([]byte, min(n, firstRead))
	for at := 0; ; {
		if _, err := io.ReadFull(src, payload[at:]); err != nil {
			return nil, err
		}
		if at = len(payload); at == n {
			return payload, nil
		}
		grown := make([]byte, min(n, 2*at))
		copy(grown, payload)
		payload = grown
	}
}

func payloadTooLarge(field, size string, most int) *problem {
	return &problem{cause: CausePayloadTooLarge, field: field, detail: fmt.Sprintf("%s bytes; allowed are at most %d", size, most)}
}

// bodyProblem returns the problem for a body that could not be read.
func bodyProblem(err error) *problem {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &problem{cause: CauseSlow, field: "body", detail: "the body did not arrive in time"}
	}
	var full errBodyBytes
	if errors.As(err, &full) {
		return &problem{cause: CauseBodies, detail: full.Error()}
	}
	return &problem{cause: CauseBody, field: "body", detail: "the body could not be read to its end: " + err.Error()}
}
