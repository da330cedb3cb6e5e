package sse

import (
	"strings"
	"time"
)

// event is what an EventSource dispatches.
type event struct{ id, kind, data string }

// source interprets an event stream as WHATWG HTML says in "Interpreting an
// event stream", step by step and without a look at what writes it.
type source struct {
	lastID string
	retry  time.Duration // 0: none was given
	events []event

	data, kind string // the buffers of the event that is being read
}

// parse reads a whole stream.
func parse(stream string) *source {
	s := new(source)
	stream = strings.ToValidUTF8(stream, "\uFFFD") // "UTF-8 decode"
	stream = strings.TrimPrefix(stream, "\uFEFF")  // its byte order mark
	for {
		end := strings.IndexAny(stream, "\r\n")
		if end < 0 {
			return s // an incomplete line, and so an incomplete event, is discarded
		}
		line := stream[:end]
		if strings.HasPrefix(stream[end:], "\r\n") {
			end++
		}
		stream = stream[end+1:]
		s.line(line)
	}
}

func (s *source) line(line string) {
	if line == "" {
		s.dispatch()
		return
	}
	name, value, colon := strings.Cut(line, ":")
	switch {
	case colon && name == "":
		return // a comment
	case colon:
		value = strings.TrimPrefix(value, " ")
	}
	switch name {
	case "event":
		s.kind = value
	case "data":
		s.data += value + "\n"
	case "id":
		if !strings.Contains(value, "\x00") {
			s.lastID = value
		}
	case "retry":
		n, ok := 0, value != ""
		for _, c := range value {
			ok = ok && c >= '0' && c <= '9'
			n = n*10 + int(c-'0')
		}
		if ok {
			s.retry = time.Duration(n) * time.Millisecond
		}
	}
}

func (s *source) dispatch() {
	if s.data != "" {
		e := event{s.lastID, "message", strings.TrimSuffix(s.data, "\n")}
		if s.kind != "" {
			e.kind = s.kind
		}
		s.events = append(s.events, e)
	}
	s.data, s.kind = "", ""
}
