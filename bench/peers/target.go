package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"belfry/bench"
	"belfry/bench/peers/peer"
	"belfry/bench/publish"
)

const (
	startPatience = 20 * time.Second
	stopPatience  = 5 * time.Second
)

// contender is one server of the table, with how to start it and publish
// through it.
type contender struct {
	name, about string
	wire        bench.Wire
	pushes      bool // to users, over HTTP
	start       func(ctx context.Context) (*target, error)
}

// target is a running server.
type target struct {
	proc   *bench.Process
	listen netip.AddrPort
	def    *peer.Definition // rendered; nil for the floor
	all    publisher
	dir    string // removed at the end; "" is none
}

// addresses is where clients connect.
func (t *target) addresses() []netip.AddrPort { return []netip.AddrPort{t.listen} }

func (t *target) stop() {
	if t.all != nil {
		t.all.close()
	}
	t.proc.Stop(stopPatience)
	if t.dir != "" {
		os.RemoveAll(t.dir)
	}
}

// fromDefinition makes a contender from a definition and its program.
func fromDefinition(d *peer.Definition, binary string) contender {
	return contender{
		name: d.Name, about: d.About, wire: d.Wire,
		pushes: d.User != nil && d.User.Path != "",
		start:  func(ctx context.Context) (*target, error) { return startDefined(ctx, d, binary) },
	}
}

// startDefined starts a server and returns when it is ready.
func startDefined(ctx context.Context, d *peer.Definition, binary string) (t *target, err error) {
	t = new(target)
	if t.dir, err = os.MkdirTemp("", "belfry-peer-"); err != nil {
		return nil, err
	}
	places := peer.Places{Binary: binary, Dir: t.dir}
	if places.Listen, err = address(d.Listen); err == nil {
		places.API, err = address(d.API)
	}
	if err == nil {
		t.def, err = d.Render(places)
	}
	for name, text := range t.files() {
		err = errors.Join(err, os.WriteFile(filepath.Join(t.dir, name), []byte(text), 0o644))
	}
	if err == nil {
		t.proc, err = bench.Start(ctx, d.Name, false, d.Env, t.def.Command[0], t.def.Command[1:]...)
	}
	if err != nil {
		os.RemoveAll(t.dir)
		return nil, fmt.Errorf("%s: %w", d.Name, err)
	}
	t.listen = places.Listen
	if err = t.ready(ctx); err == nil {
		t.all, err = newPublisher(t.def)
	}
	if err != nil {
		t.stop()
		return nil, fmt.Errorf("%s: %w", d.Name, err)
	}
	return t, nil
}

func (t *target) files() map[string]string {
	if t.def == nil {
		return nil
	}
	return t.def.Files
}

// address returns the fixed address, or a free one.
func address(fixed string) (netip.AddrPort, error) {
	if fixed != "" {
		return netip.ParseAddrPort(fixed)
	}
	return bench.FreePort()
}

// ready waits until the server reports that it is ready.
func (t *target) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, fmt.Errorf("not ready after %v", startPatience))
	defer cancel()
	for {
		err := t.check(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-t.proc.Exited():
			return t.proc.Failure()
		case <-ctx.Done():
			return fmt.Errorf("%w; last: %w", context.Cause(ctx), err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (t *target) check(ctx context.Context) error {
	if t.def.Ready == "" {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp4", t.listen.String())
		if err != nil {
			return err
		}
		return c.Close()
	}
	_, err := publish.Get(ctx, time.Second, t.def.Ready)
	return err
}

// connected waits until the server has n connections, if it reports their
// number.
func (t *target) connected(ctx context.Context, n int) error {
	if t.def == nil || t.def.Connected == "" {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startPatience, fmt.Errorf("the server does not have %d connections after %v", n, startPatience))
	defer cancel()
	for {
		body, err := publish.Get(ctx, time.Second, t.def.Connected)
		if err == nil && string(body) == strconv.Itoa(n) {
			return nil
		}
		if err := bench.Sleep(ctx, 10*time.Millisecond); err != nil {
			return fmt.Errorf("%w, but of %q", err, body)
		}
	}
}

// floorContender is the floor with so many sending threads.
func floorContender(threads int) contender {
	return contender{
		name:  peer.Floor,
		about: fmt.Sprintf("accepts, answers 101 and loops write(2), %d threads", threads),
		wire:  bench.Wire{Path: "/ws?uid={uid}"},
		start: func(ctx context.Context) (*target, error) { return startFloor(ctx, threads) },
	}
}

func startFloor(ctx context.Context, threads int) (*target, error) {
	listen, err := bench.FreePort()
	if err != nil {
		return nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	proc, err := bench.Start(ctx, peer.Floor, true, nil, self, "floor", "--listen", listen.String(), "--threads", strconv.Itoa(threads))
	if err != nil {
		return nil, err
	}
	t := &target{proc: proc, listen: listen, all: &floorPublisher{proc, bench.NewClock(), threads}}
	if _, err := proc.Call(ctx, bench.Command{Op: bench.OpCount}); err != nil {
		t.stop()
		return nil, err
	}
	return t, nil
}
