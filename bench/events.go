package bench

import (
	"bytes"
	"errors"
	"strings"
)

var errEvents = errors.New("not an event stream that ends with its connection")

// DevEventsPath is where belfry takes Server-Sent Events in its development
// mode; see DevPath.
func DevEventsPath(topics int) string { return "/sse" + strings.TrimPrefix(DevPath(topics), "/ws") }

// appendEventRequest appends the request for an event stream (WHATWG HTML, §9.2).
func appendEventRequest(dst []byte, host, target string, headers []string) []byte {
	dst = append(append(dst, "GET "...), target...)
	dst = append(append(dst, " HTTP/1.1\r\nHost: "...), host...)
	dst = append(dst, "\r\nAccept: text/event-stream\r\nCache-Control: no-cache\r\n"...)
	for _, h := range headers {
		dst = append(append(dst, h...), "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// parseEventResponse checks the answer to appendEventRequest at the start of p
// and says how many bytes its head takes, 0 if p does not hold all of it yet.
func parseEventResponse(p []byte) (n int, err error) {
	rest, n, err := parseHead(p, 200)
	if n == 0 {
		return 0, err
	}
	var line []byte
	stream := false
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok {
			return 0, errHead
		}
		switch {
		case bytes.EqualFold(name, []byte("Content-Type")):
			kind, _, _ := bytes.Cut(value, []byte(";"))
			stream = bytes.EqualFold(bytes.TrimSpace(kind), []byte("text/event-stream"))
		case bytes.EqualFold(name, []byte("Transfer-Encoding")), bytes.EqualFold(name, []byte("Content-Length")):
			return 0, errEvents
		}
	}
	if !stream {
		return 0, errEvents
	}
	return n, nil
}

// eventStream handles the whole events of data, whose lines have to end with LF,
// and keeps the rest. An event that
// all receivers get is looked at once: the others are compared with its bytes,
// which end with the blank line.
func (c *Client) eventStream(i uint32, data []byte) {
	for len(data) > 0 {
		if known := c.known; len(known) > 0 && bytes.HasPrefix(data, known) {
			c.take(i, c.knownAs, c.clock.Now())
			data = data[len(known):]
			continue
		}
		if data[0] == ':' { // a comment, which keeps the connection alive
			end := bytes.IndexByte(data, '\n')
			if end < 0 {
				c.keepEvent(i, data)
				return
			}
			c.conns[i].pings++
			c.stats.Pings++
			data = data[end+1:]
			continue
		}
		end := bytes.Index(data, []byte("\n\n"))
		if end < 0 {
			c.keepEvent(i, data)
			return
		}
		c.oneEvent(i, data[:end+2])
		data = data[end+2:]
	}
}

// keepEvent keeps the beginning of an event, unless it is too long to be one.
func (c *Client) keepEvent(i uint32, data []byte) {
	if len(data) > MaxFrame {
		c.end(i, errTooLong.Error())
		return
	}
	c.keep(i, data)
}

// oneEvent checks and counts the event raw, which has its blank line. A line of a
// field that the standard does not have is a fault; an event without data is none
// to be dispatched.
func (c *Client) oneEvent(i uint32, raw []byte) {
	c.event = c.event[:0]
	lines := 0
	for line := range bytes.SplitSeq(raw[:len(raw)-2], []byte("\n")) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		switch string(name) {
		case "data":
			if lines++; lines > 1 {
				c.event = append(c.event, '\n')
			}
			c.event = append(c.event, bytes.TrimPrefix(value, []byte(" "))...)
		case "", "event", "id", "retry": // "" is a comment
		default:
			c.stats.Corrupt++
			return
		}
	}
	if lines > 0 {
		c.content(i, raw, c.event, c.clock.Now())
	}
}
