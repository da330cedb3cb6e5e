package main

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"belfry/bench"
	"belfry/bench/peers/peer"
	"belfry/bench/publish"
)

// publisher sends to all, from one goroutine.
type publisher interface {
	// broadcast sends message seq and returns the stamp in it, taken just
	// before.
	broadcast(ctx context.Context, seq uint32, size int) (stamp int64, err error)
	close()
}

// newPublisher connects to a server by its definition, rendered.
func newPublisher(d *peer.Definition) (publisher, error) {
	if d.All.Subject != "" {
		conn, err := nats.Connect("nats://"+d.API, nats.NoReconnect())
		if err != nil {
			return nil, fmt.Errorf("publishing over NATS: %w", err)
		}
		return &natsPublisher{conn: conn, subject: d.All.Subject, clock: bench.NewClock()}, nil
	}
	r, err := request(d.API, d.All)
	if err != nil {
		return nil, err
	}
	return &httpPublisher{publish.NewConn(r)}, nil
}

// request makes requests to a server's API.
func request(addr string, form *peer.Request) (*publish.Request, error) {
	r, err := publish.NewRequest("", "http://"+addr+form.Path, form.Body, form.Headers...)
	if err == nil {
		r.Delivered = form.Delivered
	}
	return r, err
}

type httpPublisher struct{ conn *publish.Conn }

func (p *httpPublisher) broadcast(ctx context.Context, seq uint32, size int) (stamp int64, err error) {
	return p.conn.Push(ctx, bench.Message{Stream: bench.Broadcast, Seq: seq}, size)
}

func (p *httpPublisher) close() { p.conn.Close() }

type natsPublisher struct {
	conn    *nats.Conn
	subject string
	clock   bench.Clock
	payload []byte // scratch
}

func (p *natsPublisher) broadcast(_ context.Context, seq uint32, size int) (int64, error) {
	stamp := p.clock.Now()
	p.payload = bench.AppendPayload(p.payload[:0], bench.Broadcast, seq, stamp, size)
	if err := p.conn.Publish(p.subject, p.payload); err != nil {
		return 0, err
	}
	return stamp, p.conn.Flush()
}

func (p *natsPublisher) close() { p.conn.Close() }
