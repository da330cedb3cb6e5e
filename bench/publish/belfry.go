package publish

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"belfry/bench"
)

// ToAll makes messages to all of the belfry whose API is at host:port.
func ToAll(api string) *Request { return toBelfry(api, "/v1/all") }

// ToUser makes messages to the user of the message.
func ToUser(api string) *Request { return toBelfry(api, "/v1/users/{uid}") }

func toBelfry(api, path string) *Request {
	r, err := NewRequest("", "http://"+api+path, "", "Content-Type: text/plain")
	if err != nil {
		panic(err) // api is an address that a belfry listens on
	}
	return r
}

// Stats is what is read of belfry's /v1/stats.
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

// GetStats asks the belfry whose API is at host:port.
func GetStats(ctx context.Context, patience time.Duration, api string) (s Stats, err error) {
	body, err := Get(ctx, patience, "http://"+api+"/v1/stats")
	if err == nil {
		if err = json.Unmarshal(body, &s); err != nil {
			err = fmt.Errorf("GET /v1/stats: %w", err)
		}
	}
	return s, err
}

// Latency is what the server itself measured since it started, from the
// arrival of the HTTP request to sendto(2), in nanoseconds. Its quantiles are
// upper bounds of buckets, so they are never flattering. Max is not told.
func (s Stats) Latency() bench.Quantiles {
	p := s.Push
	return bench.Quantiles{Count: p.Count, P50: p.P50 * 1e3, P99: p.P99 * 1e3, P999: p.P999 * 1e3}
}
