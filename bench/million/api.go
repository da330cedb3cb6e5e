package million

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"belfry/bench"
)

// Bounds on talking to a node's HTTP API.
const (
	apiTimeout = 60 * time.Second // of one push with its retries: 100 processes share the processors
	apiFresh   = time.Second      // a connection unused for longer is made anew: the node closes those that are silent
	maxBody    = 1 << 20          // of an answer, in bytes
)

// apiConn is one kept-alive connection to a node's API, for pushes. The stamp
// in a payload is taken just before the request is written, and net/http's
// client would pass the request through two goroutines first.
type apiConn struct {
	host    string
	conn    net.Conn
	r       *bufio.Reader
	clock   bench.Clock
	used    time.Time // last
	request []byte    // scratch
	refused int       // pushes answered with 503 and repeated
}

func dialAPI(host string) (*apiConn, error) {
	a := &apiConn{host: host, clock: bench.NewClock()}
	return a, a.dial()
}

func (a *apiConn) dial() error {
	c, err := net.DialTimeout("tcp", a.host, apiTimeout)
	if err != nil {
		return fmt.Errorf("the node's API: %w", err)
	}
	a.close()
	a.conn, a.r, a.used = c, bufio.NewReader(c), time.Now()
	return nil
}

func (a *apiConn) close() {
	if a.conn != nil {
		a.conn.Close()
	}
}

// push posts one payload and returns its stamp. A 503 says that nothing was
// delivered, so the push is repeated a little later.
func (a *apiConn) push(ctx context.Context, path string, m bench.Message, size int) (stamp int64, err error) {
	if time.Since(a.used) > apiFresh {
		if err := a.dial(); err != nil {
			return 0, err
		}
	}
	defer func() { a.used = time.Now() }()
	deadline := time.Now().Add(apiTimeout)
	if err := a.conn.SetDeadline(deadline); err != nil {
		return 0, err
	}
	for {
		if err := context.Cause(ctx); err != nil {
			return 0, err
		}
		m.Stamp = a.clock.Now()
		a.request = append(a.request[:0], "POST "+path+" HTTP/1.1\r\nHost: "+a.host+
			"\r\nContent-Type: text/plain\r\nContent-Length: "+strconv.Itoa(size)+"\r\n\r\n"...)
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
		if err := sleep(ctx, time.Millisecond); err != nil {
			return 0, err
		}
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
	body, err = io.ReadAll(io.LimitReader(res.Body, maxBody))
	return res.StatusCode, body, err
}

// nodeStats is what is read of a node's /v1/stats.
type nodeStats struct {
	Sessions int `json:"sessions"`
	Push     struct {
		Count int64 `json:"count"`
		P50   int64 `json:"p50_us"`
		P99   int64 `json:"p99_us"`
		P999  int64 `json:"p999_us"`
	} `json:"push_latency"`
	Bus struct {
		Peers int `json:"peers"`
	} `json:"bus"`
}

func (s nodeStats) latency() bench.Quantiles {
	p := s.Push
	return bench.Quantiles{Count: p.Count, P50: p.P50 * 1e3, P99: p.P99 * 1e3, P999: p.P999 * 1e3}
}

func getStats(ctx context.Context, host string) (s nodeStats, err error) {
	body, err := getBody(ctx, "http://"+host+"/v1/stats")
	if err == nil {
		err = json.Unmarshal(body, &s)
	}
	return s, err
}

// getBody returns the body of a 200.
func getBody(ctx context.Context, url string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, apiTimeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(io.LimitReader(res.Body, maxBody))
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("GET %s: %s: %.200s", url, res.Status, body)
	}
	return body, err
}

// sleep waits for d or for the end of ctx, whose cause it returns.
func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// until asks every 20 ms, for as long as patience, until ask returns nil.
func until(ctx context.Context, patience time.Duration, ask func() error) error {
	for deadline := time.Now().Add(patience); ; {
		err := ask()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("not after %v: %w", patience, err)
		}
		if err := sleep(ctx, 20*time.Millisecond); err != nil {
			return err
		}
	}
}
