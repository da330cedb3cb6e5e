package push

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/message/strictjson"
	"belfry/report"
)

// batchBuffers has buffers for the lines of batches.
var batchBuffers = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}

// batch serves POST /v1/batch. It publishes each line when the line has arrived,
// and answers it with a line.
func (s *Server) batch(w http.ResponseWriter, r *http.Request, c call) int {
	p := noParameters(r.URL.RawQuery)
	if p == nil {
		_, p = checkBody(r)
	}
	if p != nil {
		return s.refuse(w, p)
	}
	defer s.bodies.leave(true)
	if p := s.bodies.enter(true); p != nil {
		return s.refuse(w, p)
	}
	rc := http.NewResponseController(w)
	// It fails only for HTTP/2 and for recorders in tests, which do not need it.
	_ = rc.EnableFullDuplex()
	h := w.Header()
	h["Content-Type"] = ndjsonType
	h["X-Content-Type-Options"] = nosniff
	h["X-Accel-Buffering"] = []string{"no"} // otherwise nginx would buffer the answers

	if c.conn != nil {
		c.conn.batch = true
		defer func() { c.conn.batch = false }()
	}
	out := newAnswers(w, rc, s.opt.WriteTimeout)
	defer out.close() // in case of a panic
	whole := s.runBatch(r, rc, out, c.key)
	err := out.close()
	_ = rc.SetWriteDeadline(time.Now().Add(s.opt.WriteTimeout)) // for the end of the answer
	if err != nil || !whole {
		end := ""
		if r.ProtoAtLeast(1, 1) {
			end = lastChunk // the answer is chunked, since it was flushed
		}
		s.abandon(rc, r, c.conn, cutOff{answered: err == nil, end: end, until: time.Now().Add(restTime), most: maxBatchRest})
	}
	return http.StatusOK
}

// maxBatchRest is the number of bytes that are read after the last line that a
// batch may have. If the batch ends within them, the client can go on using the
// connection; otherwise the connection is closed.
const maxBatchRest = 16 << 20

// runBatch publishes the lines of a batch and adds their answers. It reports
// whether it read the batch to its end.
func (s *Server) runBatch(r *http.Request, rc *http.ResponseController, out *answers, key *keyCount) (whole bool) {
	// At shutdown a deadline in the past wakes a batch that waits for its next
	// line. beforeLine also sets a deadline; it checks for the shutdown after
	// that, so that it cannot undo this one.
	wake := context.AfterFunc(s.stop, func() { _ = rc.SetReadDeadline(time.Unix(1, 0)) })
	defer wake()
	buf := batchBuffers.Get().(*[]byte)
	lines := lineReader{src: r.Body, max: s.opt.MaxBatchLine, buf: *buf, held: heldBytes{bodies: &s.bodies}}
	defer func() {
		lines.held.release()
		if len(lines.buf) <= maxPooledBuffer {
			*buf = lines.buf
			batchBuffers.Put(buf)
		}
	}()
	lines.beforeRead = out.flush
	lines.beforeLine = func() { // one deadline for each line, however slowly its bytes arrive
		_ = rc.SetReadDeadline(time.Now().Add(s.opt.BatchIdleTimeout))
		if s.stop.Err() != nil {
			_ = rc.SetReadDeadline(time.Unix(1, 0))
		}
	}
	ordered := inOrder{s: s, out: out}
	defer ordered.close()
	for n := 1; ; n++ {
		line, err := lines.next()
		if err == io.EOF {
			return true
		}
		last := false
		var m *message.Message
		var pending *report.Pending
		var p *problem
		switch {
		case n > s.opt.MaxBatchLines && (err == nil || err == errLineTooLong):
			p = &problem{cause: CauseTooManyLines, detail: fmt.Sprintf("allowed are at most %d lines; this line and later ones were not processed", s.opt.MaxBatchLines)}
			last = true
		case err == errLineTooLong:
			p = &problem{cause: CauseLineTooLong, detail: fmt.Sprintf("allowed are at most %d bytes", s.opt.MaxBatchLine)}
		case err != nil:
			p, last = s.batchEnd(err), true
		case len(bytes.TrimLeft(line, " \t\r\n")) == 0:
			continue // a blank line, as many files have at their end
		default:
			if m, pending, p = s.publishItem(line); p == nil {
				key.pushes.Add(1)
			}
		}
		if err := ordered.add(lineAnswer{n, m, pending, p}); err != nil {
			return false
		}
		if last {
			return lines.rest(maxBatchRest)
		}
	}
}

// publishItem publishes one line. If the line asks for a wait, the caller awaits the
// reports. A panic fails only this line.
func (s *Server) publishItem(line []byte) (m *message.Message, pending *report.Pending, p *problem) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("handler panicked", zap.Stringer("route", routeBatch), zap.Any("panic", v), zap.Stack("stack"))
			m, pending, p = nil, nil, &problem{cause: CauseInternal, detail: faultDetail}
		}
	}()
	it, p := parseItem(line, s.opt.MaxPayload)
	if p != nil {
		return nil, nil, p
	}
	it.m.Received = time.Now()
	if pending, p = s.publish(s.stop, nil, &it.m, it.data, it.params.report); p != nil {
		return nil, nil, p
	}
	return &it.m, pending, nil
}

// batchEnd returns the problem for an error that ends a batch.
func (s *Server) batchEnd(err error) *problem {
	if s.stop.Err() != nil {
		return &problem{cause: CauseShutdown, detail: "this line and later ones were not read; send them to another node"}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &problem{cause: CauseSlow, detail: fmt.Sprintf("no complete line arrived for %v; this line and later ones were not read", s.opt.BatchIdleTimeout)}
	}
	var full errBodyBytes
	if errors.As(err, &full) {
		return &problem{cause: CauseBodies, detail: full.Error() + "; this line and later ones were not read"}
	}
	return &problem{cause: CauseBody, detail: "the body could not be read to its end: " + err.Error()}
}

// appendAnswer appends the answer to a line: the problem if it was refused, what became
// of the message if that was awaited, else the message's id. It counts the line.
func (s *Server) appendAnswer(b []byte, a *lineAnswer, reports []byte) []byte {
	b = append(b, `{"line":`...)
	b = strconv.AppendInt(b, int64(a.n), 10)
	if a.p != nil {
		s.count.linesRejected[a.p.cause].Add(1)
		b = append(b, `,"error":`...)
		b = a.p.appendJSON(b)
		return append(b, '}', '\n')
	}
	s.count.lines.Add(1)
	s.count.payloadBytes.Add(uint64(len(a.m.Payload)))
	if reports != nil {
		b = append(b, ',')
		return append(append(b, reports[1:]...), '\n') // without its brace
	}
	b = append(b, `,"id":`...)
	b = strictjson.AppendString(b, a.m.ID)
	return append(b, '}', '\n')
}
