package publish

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"

	"belfry/bench"
)

// maxResponse is the longest accepted response, in bytes.
const maxResponse = 64 << 10

// Errors of ParseResponse.
var (
	ErrResponse = errors.New("malformed HTTP response")
	ErrTooLong  = fmt.Errorf("HTTP response longer than %d bytes", maxResponse)
	ErrLength   = errors.New("HTTP response without Content-Length or chunks")
	ErrClosing  = errors.New("the server closes the connection after a response; it must keep it open")
)

// ParseResponse looks for a complete response at the start of p and returns its
// length, 0 if it is not complete yet. The body, with its chunks if it has any,
// is part of p.
func ParseResponse(p []byte) (status, n int, body []byte, err error) {
	end := bytes.Index(p, []byte("\r\n\r\n"))
	switch {
	case len(p) > maxResponse:
		return 0, 0, nil, ErrTooLong
	case end < 0:
		return 0, 0, nil, nil
	}
	line, rest, _ := bytes.Cut(p[:end+2], []byte("\r\n"))
	if len(line) < 12 || !bytes.HasPrefix(line, []byte("HTTP/1.")) {
		return 0, 0, nil, ErrResponse
	}
	if status, err = strconv.Atoi(string(line[9:12])); err != nil || status < 200 {
		return 0, 0, nil, ErrResponse
	}
	length, chunked, closing := -1, false, false
	for len(rest) > 0 {
		line, rest, _ = bytes.Cut(rest, []byte("\r\n"))
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch {
		case bytes.EqualFold(name, []byte("Content-Length")):
			if length, err = strconv.Atoi(string(value)); err != nil || length < 0 {
				return 0, 0, nil, ErrResponse
			}
			if length > maxResponse {
				return 0, 0, nil, ErrTooLong
			}
		case bytes.EqualFold(name, []byte("Transfer-Encoding")):
			chunked = bytes.EqualFold(value, []byte("chunked"))
		case bytes.EqualFold(name, []byte("Connection")):
			closing = closing || bench.HasToken(value, "close")
		}
	}
	end += 4
	switch {
	case status == 204:
		length = 0
	case chunked: // answers of APIs are short, so the last chunk ends them
		last := bytes.Index(p[end-2:], []byte("\r\n0\r\n\r\n"))
		if last < 0 {
			return 0, 0, nil, nil
		}
		length = last - 2 + len("\r\n0\r\n\r\n")
	case length < 0:
		return 0, 0, nil, ErrLength
	}
	if len(p) < end+length {
		return 0, 0, nil, nil
	}
	if body = p[end : end+length]; closing {
		err = fmt.Errorf("%w: status %d: %.200s", ErrClosing, status, body)
	}
	return status, end + length, body, err
}
