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
)

// batchBuffers are where lines are collected.
var batchBuffers = sync.Pool{New: func() any { b := make([]byte, 16<<10); return &b }}

// batch serves POST /v1/batch: each line is published as it arrives and
// answered with a line.
func (s *Server) batch(w http.ResponseWriter, r *http.Request, c call) int {
	p := noParameters(r.URL.RawQuery)
	if p == nil {
		_, p = checkBody(r)
	}
	if p != nil {
		return s.refuse(w, p)
	}
	defer s.in.leave(true)
	if p := s.in.enter(true); p != nil {
		return s.refuse(w, p)
	}
	rc := http.NewResponseController(w)
	// Fails only where it is not needed: HTTP/2 and recorders in tests.
	_ = rc.EnableFullDuplex()
	h := w.Header()
	h["Content-Type"] = ndjsonType
	h["X-Content-Type-Options"] = nosniff
	h["X-Accel-Buffering"] = []string{"no"} // nginx would hold the answers back

	if c.conn != nil {
		c.conn.batch = true
		defer func() { c.conn.batch = false }()
	}
	out := newAnswers(w, rc, s.opt.WriteTimeout)
	defer out.close() // for a panic
	whole := s.runBatch(r, rc, out, c.key)
	err := out.close()
	_ = rc.SetWriteDeadline(time.Now().Add(s.opt.WriteTimeout)) // for the end of the answer
	if err != nil || !whole {
		end := ""
		if r.ProtoAtLeast(1, 1) {
			end = lastChunk // the answer has been chunked from its first flush
		}
		s.abandon(rc, r, c.conn, cutOff{answered: err == nil, end: end, until: time.Now().Add(restTime), most: maxBatchRest})
	}
	return http.StatusOK
}

// maxBatchRest is how much is read, in bytes, of what follows the last line
// that a batch may have. A client that has sent all of it can go on with the
// connection; one that sends more is cut off.
const maxBatchRest = 16 << 20

// runBatch reads to the end of the batch and says whether it got there.
func (s *Server) runBatch(r *http.Request, rc *http.ResponseController, out *answers, key *keyCount) (whole bool) {
	// Stopping wakes a batch that waits for its next line. Whoever is second
	// to set the deadline sees the other: beforeLine looks after setting it.
	wake := context.AfterFunc(s.stop, func() { _ = rc.SetReadDeadline(time.Unix(1, 0)) })
	defer wake()
	buf := batchBuffers.Get().(*[]byte)
	lines := lineReader{src: r.Body, max: s.opt.MaxBatchLine, buf: *buf, held: heldBytes{of: &s.in}}
	defer func() {
		lines.held.release()
		if len(lines.buf) <= maxPooledBuffer {
			*buf = lines.buf
			batchBuffers.Put(buf)
		}
	}()
	lines.beforeRead = out.flush
	lines.beforeLine = func() { // once a line: one that drips is no better than none
		_ = rc.SetReadDeadline(time.Now().Add(s.opt.BatchIdleTimeout))
		if s.stop.Err() != nil {
			_ = rc.SetReadDeadline(time.Unix(1, 0))
		}
	}
	for n := 1; ; n++ {
		line, err := lines.next()
		if err == io.EOF {
			return true
		}
		last := false
		var m *message.Message
		var p *problem
		switch {
		case n > s.opt.MaxBatchLines && (err == nil || err == errLineTooLong):
			p = &problem{cause: CauseTooManyLines, detail: fmt.Sprintf("allowed are at most %d lines; this line and those after it were not looked at", s.opt.MaxBatchLines)}
			last = true
		case err == errLineTooLong:
			p = &problem{cause: CauseLineTooLong, detail: fmt.Sprintf("allowed are at most %d bytes", s.opt.MaxBatchLine)}
		case err != nil:
			p, last = s.batchEnd(err), true
		case len(bytes.TrimLeft(line, " \t\r\n")) == 0:
			continue // blank, as at the end of many files
		default:
			if m, p = s.publishItem(line); p == nil {
				key.pushes.Add(1)
			}
		}
		if err := out.add(func(b []byte) []byte { return s.appendAnswer(b, n, m, p) }); err != nil {
			return false
		}
		if last {
			return lines.rest(maxBatchRest)
		}
	}
}

// publishItem publishes one line. A panic is that line's fault alone.
func (s *Server) publishItem(line []byte) (m *message.Message, p *problem) {
	defer func() {
		if v := recover(); v != nil {
			s.log.Error("handler panicked", zap.Stringer("route", routeBatch), zap.Any("panic", v), zap.Stack("stack"))
			m, p = nil, &problem{cause: CauseInternal, detail: faultDetail}
		}
	}()
	it, p := parseItem(line, s.opt.MaxPayload)
	if p != nil {
		return nil, p
	}
	it.m.Received = time.Now()
	if p := s.publish(s.stop, nil, &it.m, it.data); p != nil {
		return nil, p
	}
	return &it.m, nil
}

// batchEnd tells why a batch is read no further.
func (s *Server) batchEnd(err error) *problem {
	if s.stop.Err() != nil {
		return &problem{cause: CauseShutdown, detail: "this line and those after it were not read; send them to another node"}
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return &problem{cause: CauseSlow, detail: fmt.Sprintf("no whole line came for %v; this line and those after it were not read", s.opt.BatchIdleTimeout)}
	}
	var full errBodyBytes
	if errors.As(err, &full) {
		return &problem{cause: CauseBodies, detail: full.Error() + "; this line and those after it were not read"}
	}
	return &problem{cause: CauseBody, detail: "the body broke off: " + err.Error()}
}

// appendAnswer appends the answer to line n: m's id, or p.
func (s *Server) appendAnswer(b []byte, n int, m *message.Message, p *problem) []byte {
	b = append(b, `{"line":`...)
	b = strconv.AppendInt(b, int64(n), 10)
	if p != nil {
		s.count.linesRejected[p.cause].Add(1)
		b = append(b, `,"error":`...)
		b = p.appendJSON(b)
	} else {
		s.count.lines.Add(1)
		s.count.payloadBytes.Add(uint64(len(m.Payload)))
		b = append(b, `,"id":`...)
		b = strictjson.AppendString(b, m.ID)
	}
	return append(b, '}', '\n')
}
