package restart

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"belfry/bench"
)

// publisher gives messages to the node: over HTTP, where each request has an
// Idempotency-Key and is repeated until it is answered, or as a plain NATS client.
type publisher struct {
	api     string // of the node that is restarted
	others  string // of the node beside it, or the same if there is none
	bus     *nats.Conn
	size    int
	http    http.Client
	clock   bench.Clock
	refused atomic.Uint64
	keys    atomic.Uint64
}

// retryFor limits how long a message is offered again.
const retryFor = 20 * time.Second

// retryPause is the pause before it is offered again.
const retryPause = 5 * time.Millisecond

// push publishes through the API. The payload tells when it was offered first, so that
// the time in which the API was away counts as silence.
func (p *publisher) push(ctx context.Context, api, path string, m bench.Message) error {
	m.Stamp = p.clock.Now()
	body := bench.AppendMessage(nil, m, p.size)
	key := fmt.Sprintf("restart-%d", p.keys.Add(1))
	for begun := time.Now(); ; {
		err := p.offer(ctx, "http://"+api+path, key, body)
		if err == nil {
			return nil
		}
		if time.Since(begun) > retryFor {
			return fmt.Errorf("publishing to %s: %w", path, err)
		}
		p.refused.Add(1)
		if err := bench.Sleep(ctx, retryPause); err != nil {
			return err
		}
	}
}

func (p *publisher) offer(ctx context.Context, url, key string, body []byte) error {
	ctx, cancel := context.WithTimeout(ctx, retryFor)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, "POST", url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "text/plain")
	r.Header.Set("Idempotency-Key", key)
	answer, err := p.http.Do(r)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= 300 {
		err = fmt.Errorf("%s: %.200s", answer.Status, text)
	}
	return err
}

// topic publishes to the topic: as a plain NATS client, or through the API if the node is
// alone.
func (p *publisher) topic(ctx context.Context, seq uint32) error {
	m := bench.Message{Stream: bench.Direct, Seq: seq}
	if p.bus == nil {
		return p.push(ctx, p.api, "/v1/topics/"+topic, m)
	}
	m.Stamp = p.clock.Now()
	return p.bus.Publish("belfry.topic."+topic, bench.AppendMessage(nil, m, p.size))
}

const topic = "room"
