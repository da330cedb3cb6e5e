package figures

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"time"

	"belfry/bench"
	"belfry/bench/publish"
)

// askTimeout bounds one question to the server under measurement.
const askTimeout = 5 * time.Second

// side is one of the two measured servers.
type side interface {
	name() string
	process() *bench.Process
	addr() netip.AddrPort
	// broadcast sends one message to every connection and returns the stamp
	// taken just before the request for it was written.
	broadcast(ctx context.Context, seq uint32, size int) (stamp int64, err error)
	stop()
}

// belfrySide is a belfry, driven through its HTTP API.
type belfrySide struct {
	proc   *bench.Process
	listen netip.AddrPort
	api    string
	conn   *publish.Conn
}

// startBelfry starts the server and returns when it says it is ready.
func startBelfry(ctx context.Context, o options, env ...string) (*belfrySide, error) {
	listen, err := bench.FreePort()
	if err != nil {
		return nil, err
	}
	api, err := bench.FreePort()
	if err != nil {
		return nil, err
	}
	s := &belfrySide{listen: listen, api: api.String()}
	s.proc, err = bench.Start(ctx, "belfry", false, append(env, o.env...), o.server,
		"serve", "--dev", "--listen", listen.String(), "--api", s.api,
		"--shards", strconv.Itoa(o.shards), "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	if err := s.ready(ctx); err != nil {
		s.stop()
		return nil, err
	}
	request := publish.ToAll(s.api)
	request.Document = o.variant.Document
	s.conn = publish.NewConn(request)
	return s, nil
}

// ready requests /readyz until it answers 200.
func (s *belfrySide) ready(ctx context.Context) error {
	const waitLimit = 15 * time.Second
	ctx, cancel := context.WithTimeoutCause(ctx, waitLimit, fmt.Errorf("belfry is not ready after %v", waitLimit))
	defer cancel()
	last := errors.New("never asked")
	for {
		_, err := publish.Get(ctx, askTimeout, "http://"+s.api+"/readyz")
		if err == nil {
			return nil
		}
		if ctx.Err() == nil {
			last = err
		}
		select {
		case <-s.proc.Exited():
			return s.proc.Failure()
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), last)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *belfrySide) name() string            { return "belfry" }
func (s *belfrySide) process() *bench.Process { return s.proc }
func (s *belfrySide) addr() netip.AddrPort    { return s.listen }

func (s *belfrySide) broadcast(ctx context.Context, seq uint32, size int) (int64, error) {
	return s.conn.Push(ctx, bench.Message{Stream: bench.Broadcast, Seq: seq}, size)
}

func (s *belfrySide) stats(ctx context.Context) (publish.Stats, error) {
	return publish.GetStats(ctx, askTimeout, s.api)
}

func (s *belfrySide) stop() {
	if s.conn != nil {
		s.conn.Close()
	}
	s.proc.Stop(5 * time.Second)
}

// floorSide is the floor, driven through the control protocol.
type floorSide struct {
	proc    *bench.Process
	listen  netip.AddrPort
	clock   bench.Clock
	threads int // that write
}

// startFloor starts the floor and returns when it answers.
func startFloor(ctx context.Context, o options) (*floorSide, error) {
	listen, err := bench.FreePort()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	proc, err := bench.Start(ctx, "floor", true, nil, self, "floor", "--listen", listen.String(), "--threads", strconv.Itoa(o.shards))
	if err != nil {
		return nil, err
	}
	s := &floorSide{proc: proc, listen: listen, clock: bench.NewClock(), threads: o.shards}
	if _, err := proc.Call(ctx, bench.Command{Op: bench.OpCount}); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

func (s *floorSide) name() string            { return "floor" }
func (s *floorSide) process() *bench.Process { return s.proc }
func (s *floorSide) addr() netip.AddrPort    { return s.listen }

func (s *floorSide) broadcast(ctx context.Context, seq uint32, size int) (int64, error) {
	stamp := s.clock.Now()
	r, err := s.proc.Call(ctx, bench.Command{Op: bench.OpSend, Send: &bench.Send{Seq: seq, Size: size, Threads: s.threads}})
	if err == nil && r.Sent.Failed > 0 {
		err = fmt.Errorf("floor: %d of %d writes failed", r.Sent.Failed, r.Sent.Failed+r.Sent.Written)
	}
	return stamp, err
}

func (s *floorSide) stop() { s.proc.Stop(5 * time.Second) }

// startServer starts the server that --server names.
func startServer(ctx context.Context, o options, env ...string) (side, error) {
	if o.server == "floor" {
		return startFloor(ctx, o)
	}
	return startBelfry(ctx, o, env...)
}
