package hostile

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"belfry/bench"
	"belfry/bench/publish"
)

// Pushes to a witness.
const (
	pushEvery   = 5 * time.Millisecond
	pushSize    = 128
	pushTimeout = 5 * time.Second // for one answer
	pushers     = 12              // connections to the API for one witness, and so pushes that wait for answers at once
)

// pusher pushes to one witness at fixed times, whether or not earlier pushes
// were answered. The latency counts from the time when a push was due.
type pusher struct {
	witness *witness
	clock   bench.Clock
	phase   *atomic.Uint32
	queue   chan uint32
}

// start runs until ctx is done. After that no more pushes become due, and
// waiting ones are given up when hard is done.
func (p *pusher) start(ctx, hard context.Context, running *sync.WaitGroup) {
	p.queue = make(chan uint32, 1<<16)
	running.Go(func() {
		defer close(p.queue)
		for due := p.clock.Now(); ; {
			select {
			case p.queue <- p.witness.offer(due, phase(p.phase.Load())):
			default: // 65,536 wait already: this one stays unanswered
			}
			due += int64(pushEvery)
			if bench.Sleep(ctx, time.Duration(due-p.clock.Now())) != nil {
				return
			}
		}
	})
	for range pushers {
		running.Go(func() { p.work(hard) })
	}
}

// work sends the due pushes on one connection.
func (p *pusher) work(ctx context.Context) {
	target, err := publish.NewRequest("POST", "http://"+p.witness.node.api+"/v1/users/"+p.witness.uid, "", "Content-Type: text/plain")
	if err != nil {
		return
	}
	c := apiConn{address: p.witness.node.api}
	defer c.close()
	var out []byte
	for seq := range p.queue {
		out = target.Append(out[:0], bench.Message{Stream: bench.Direct, Seq: seq}, pushSize)
		status, err := c.do(ctx, out)
		switch {
		case err != nil && ctx.Err() != nil:
			return
		case err != nil:
			p.witness.answered(seq, broken, cause(err))
		case status/100 == 2:
			p.witness.answered(seq, accepted, "")
		default:
			p.witness.answered(seq, refused, (&bench.StatusError{Code: status}).Error())
		}
	}
}

// apiConn is a persistent connection to the API; it is made when needed.
type apiConn struct {
	address string
	conn    net.Conn
	in      []byte
}

// do sends a request and reads the status of the answer.
func (c *apiConn) do(ctx context.Context, request []byte) (status int, err error) {
	if c.conn == nil {
		d := net.Dialer{Timeout: pushTimeout}
		if c.conn, err = d.DialContext(ctx, "tcp4", c.address); err != nil {
			c.conn = nil
			return 0, err
		}
	}
	if status, err = c.exchange(ctx, request); err != nil {
		c.close()
	}
	return status, err
}

func (c *apiConn) exchange(ctx context.Context, request []byte) (int, error) {
	conn := c.conn
	if err := conn.SetDeadline(time.Now().Add(pushTimeout)); err != nil {
		return 0, err
	}
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write(request); err != nil {
		return 0, err
	}
	var p [4096]byte
	for c.in = c.in[:0]; ; {
		n, err := conn.Read(p[:])
		if err != nil {
			return 0, err
		}
		c.in = append(c.in, p[:n]...)
		status, whole, _, err := publish.ParseResponse(c.in)
		if whole > 0 { // even if the server closes the connection after it
			if err != nil {
				c.close()
			}
			return status, nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func (c *apiConn) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// stream pushes to the attackers at a rate until ctx is done.
func stream(ctx context.Context, api string, p Pushes) {
	body, size := filler(p.Size), bench.MinPayload
	if p.Document {
		body, size = "", p.Size
	}
	target, err := publish.NewRequest("POST", "http://"+api+p.Path, body, "Content-Type: text/plain")
	if err != nil {
		return
	}
	target.Document = p.Document
	clock := bench.NewClock()
	request := target.Append(nil, bench.Message{Stream: bench.Broadcast}, size)
	c := apiConn{address: api}
	defer c.close()
	for due := clock.Now(); ; {
		_, _ = c.do(ctx, request) // a refused push does not matter here
		due += int64(time.Second) / int64(p.Rate)
		if bench.Sleep(ctx, time.Duration(due-clock.Now())) != nil {
			return
		}
	}
}
