package figures

import (
	"context"
	"net/netip"
	"os"
	"time"

	"belfry/bench"
	"belfry/bench/probe"
	"belfry/bench/publish"
)

// probeUser is the index of the probe's one connection, above all others.
const probeUser = 999_999_999

// push is one round of pushes to one user during a continuous fan-out.
type push struct {
	probe.Result
	probe.Flooded
	Refused int `json:"refused"` // answers that said busy, to pushes and broadcasts
}

// measurePush pushes to one user every o.pushEvery during continuous broadcasts
// to all. The flooded clients run only when processors are free, because
// clients on other machines would not compete with the server.
func measurePush(ctx context.Context, o options, p *bench.Pool, s *belfrySide) (*push, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	user, err := probe.Start(ctx, self, bench.Dial{Targets: []netip.AddrPort{s.addr()}, First: probeUser, Next: p.Next(),
		Timeout: int64(5 * time.Second), Wire: o.wire()},
		publish.NewConn(publish.ToUser(s.api)), s.api)
	if err != nil {
		return nil, err
	}
	defer user.Stop()
	if err := p.Background(); err != nil {
		return nil, err
	}
	r, refused := &push{}, s.conn.Refused
	send := func(ctx context.Context) (func(context.Context) error, error) {
		seq, wait := p.Expect()
		_, err := s.broadcast(ctx, seq, o.size)
		return func(ctx context.Context) error { _, err := wait(ctx); return err }, err
	}
	r.Flooded, err = probe.During(ctx, send, func(ctx context.Context) error { return user.Push(ctx, o.size, o.pushEvery, o.push) })
	if err != nil {
		return nil, err
	}
	if r.Result, err = user.Result(ctx, p.Next()); err != nil {
		return nil, err
	}
	r.Refused = user.Refused() + s.conn.Refused - refused
	return r, verify(ctx, p, s)
}
