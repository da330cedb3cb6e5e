package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"belfry/bench"
)

// maxBody is the longest answer read, in bytes.
const maxBody = 8 << 20

// apiTimeout bounds one push with its retries.
const apiTimeout = 10 * time.Second

// apiConn is one kept-alive connection to the HTTP API. net/http's client
// would pass the request through two goroutines first; the stamp is to be
// taken just before the request is written, and nothing else timed.
type apiConn struct {
	host    string
	conn    net.Conn
	r       *bufio.Reader
	clock   bench.Clock
	request []byte // scratch
	refused int    // pushes answered with 503 and repeated
}

func dialAPI(host string) (*apiConn, error) {
	c, err := net.DialTimeout("tcp", host, apiTimeout)
	if err != nil {
		return nil, fmt.Errorf("the server's API: %w", err)
	}
	return &apiConn{host: host, conn: c, r: bufio.NewReader(c), clock: bench.NewClock()}, nil
}

func (a *apiConn) close() { a.conn.Close() }

// push posts one payload, which it stamps, and returns the stamp. A 503 says that nothing was
// delivered, so the push is repeated a little later.
func (a *apiConn) push(ctx context.Context, path string, m bench.Message, size int) (stamp int64, err error) {
	deadline := time.Now().Add(apiTimeout)
	if err := a.conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	for {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		a.request = append(a.request[:0], "POST "...)
		a.request = append(a.request, path...)
		a.request = append(a.request, " HTTP/1.1\r\nHost: "...)
		a.request = append(a.request, a.host...)
		a.request = append(a.request, "\r\nContent-Type: text/plain\r\nContent-Length: "...)
		a.request = strconv.AppendInt(a.request, int64(size), 10)
		a.request = append(a.request, "\r\n\r\n"...)
		m.Stamp = a.clock.Now()
		a.request = bench.AppendMessage(a.request, m, size)
		status, body, err := a.roundTrip()
		if err != nil {
			return 0, fmt.Errorf("POST %s: %w", path, err)
		}
		switch {
		case status == http.StatusAccepted:
			return m.Stamp, nil
		case status != http.StatusServiceUnavailable || time.Now().After(deadline.Add(-time.Second)):
			return 0, fmt.Errorf("POST %s: status %d: %.200s", path, status, body)
		}
		a.refused++
		time.Sleep(time.Millisecond)
	}
}

func (a *apiConn) roundTrip() (status int, body []byte, err error) {
	if _, err := a.conn.Write(a.request); err != nil {
		return 0, nil, err
	}
	res, err := http.ReadResponse(a.r, nil)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	body, err = readLimited(res.Body)
	return res.StatusCode, body, err
}

func readLimited(r io.Reader) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(r, maxBody+1))
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("answer longer than %d bytes", maxBody)
	}
	return body, err
}

// userPath is where pushes to one user go.
func userPath(uid string) string { return "/v1/users/" + url.PathEscape(uid) }
