package publish

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"belfry/bench"
)

// ToAll returns requests for messages to all sessions, through the API of
// belfry at host:port.
func ToAll(api string) *Request { return toBelfry(api, "/v1/all") }

// ToUser returns requests for messages to the message's user.
func ToUser(api string) *Request { return toBelfry(api, "/v1/users/{uid}") }

func toBelfry(api, path string) *Request {
	return &Request{Address: api, host: api, method: "POST", target: bench.ParseTemplate(path),
		headers: []byte("Content-Type: text/plain\r\n"), form: bench.ParseTemplate("{payload}")}
}

// Stats has some fields of belfry's /v1/stats.
type Stats struct {
	Sessions int     `json:"sessions"`
	Passes   float64 `json:"fanout_passes"` // of shards through their sessions
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

// GetStats reads the statistics of belfry, whose API is at host:port.
func GetStats(ctx context.Context, timeout time.Duration, api string) (s Stats, err error) {
	body, err := Get(ctx, timeout, "http://"+api+"/v1/stats")
	if err == nil {
		if err = json.Unmarshal(body, &s); err != nil {
			err = fmt.Errorf("GET /v1/stats: %w", err)
		}
	}
	return s, err
}

// Latency is the server's own measurement since its start, from the arrival of
// the HTTP request to sendto(2), in nanoseconds. Its quantiles are upper bounds
// of buckets, so the true ones are not higher. It has no Max.
func (s Stats) Latency() bench.Quantiles {
	p := s.Push
	return bench.Quantiles{Count: p.Count, P50: p.P50 * 1e3, P99: p.P99 * 1e3, P999: p.P999 * 1e3}
}
