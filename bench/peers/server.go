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
	"belfry/bench/target"
)

// startLimit bounds the start of a server, and the time until it has registered
// all connections.
const startLimit = 20 * time.Second

// contender is one server of the table, with how to connect to it and to start
// it.
type contender struct {
	name, about string
	wire        bench.Wire
	start       func(ctx context.Context) (server, error)
}

// server is a running server.
type server interface {
	target.Target
	// connected waits until the server has n connections, if it reports their
	// number.
	connected(ctx context.Context, n int) error
	// toUser returns requests for pushes to users over HTTP, nil if it has none.
	toUser() (*publish.Request, error)
}

// defined is a server by its definition.
type defined struct {
	proc   *bench.Process
	listen netip.AddrPort
	def    *peer.Definition // rendered
	all    publisher
	dir    string // removed at the end
}

func (s *defined) Name() string                    { return s.def.Name }
func (s *defined) Grow(context.Context, int) error { return nil }
func (s *defined) Processes() []*bench.Process     { return []*bench.Process{s.proc} }
func (s *defined) Listen(int) []netip.AddrPort     { return []netip.AddrPort{s.listen} }

func (s *defined) Broadcast(ctx context.Context, seq uint32, size int) (int64, error) {
	return s.all.broadcast(ctx, seq, size)
}

func (s *defined) Stop() {
	if s.all != nil {
		s.all.close()
	}
	s.proc.Stop(5 * time.Second)
	os.RemoveAll(s.dir)
}

func (s *defined) toUser() (*publish.Request, error) {
	if s.def.User == nil || s.def.User.Path == "" {
		return nil, nil
	}
	return request(s.def.API, s.def.User)
}

// fromDefinition makes a contender from a definition and its program.
func fromDefinition(d *peer.Definition, binary string) contender {
	return contender{name: d.Name, about: d.About, wire: d.Wire,
		start: func(ctx context.Context) (server, error) { return startDefined(ctx, d, binary) }}
}

// startDefined starts a server and returns when it is ready.
func startDefined(ctx context.Context, d *peer.Definition, binary string) (s *defined, err error) {
	s = new(defined)
	if s.dir, err = os.MkdirTemp("", "belfry-peer-"); err != nil {
		return nil, err
	}
	places := peer.Places{Binary: binary, Dir: s.dir}
	if places.Listen, err = address(d.Listen); err == nil {
		places.API, err = address(d.API)
	}
	if err == nil {
		s.def, err = d.Render(places)
	}
	if err == nil {
		for name, text := range s.def.Files {
			err = errors.Join(err, os.WriteFile(filepath.Join(s.dir, name), []byte(text), 0o644))
		}
	}
	if err == nil {
		s.proc, err = bench.Start(ctx, d.Name, false, d.Env, s.def.Command[0], s.def.Command[1:]...)
	}
	if err != nil {
		os.RemoveAll(s.dir)
		return nil, fmt.Errorf("%s: %w", d.Name, err)
	}
	s.listen = places.Listen
	if err = target.Until(ctx, startLimit, s.Processes(), func() error { return s.ready(ctx) }); err == nil {
		s.all, err = newPublisher(s.def)
	}
	if err != nil {
		s.Stop()
		return nil, fmt.Errorf("%s is not ready: %w", d.Name, err)
	}
	return s, nil
}

// address returns the fixed address, or a free one.
func address(fixed string) (netip.AddrPort, error) {
	if fixed != "" {
		return netip.ParseAddrPort(fixed)
	}
	return bench.FreePort()
}

// ready asks whether the server is.
func (s *defined) ready(ctx context.Context) error {
	if s.def.Ready == "" {
		c, err := (&net.Dialer{Timeout: time.Second}).DialContext(ctx, "tcp4", s.listen.String())
		if err != nil {
			return err
		}
		return c.Close()
	}
	_, err := publish.Get(ctx, time.Second, s.def.Ready)
	return err
}

func (s *defined) connected(ctx context.Context, n int) error {
	if s.def.Connected == "" {
		return nil
	}
	return target.Until(ctx, startLimit, s.Processes(), func() error {
		body, err := publish.Get(ctx, time.Second, s.def.Connected)
		if err == nil && string(body) != strconv.Itoa(n) {
			err = fmt.Errorf("the server has %q connections, not %d", body, n)
		}
		return err
	})
}

// theFloor is the floor on a port that it holds.
type theFloor struct {
	*target.Floor
	ports *target.Ports
}

func (f theFloor) connected(context.Context, int) error { return nil }
func (f theFloor) toUser() (*publish.Request, error)    { return nil, nil }
func (f theFloor) Stop()                                { f.Floor.Stop(); f.ports.Release() }

// floorContender is the floor with so many sending threads.
func floorContender(threads int) contender {
	return contender{
		name:  peer.Floor,
		about: fmt.Sprintf("accepts, answers 101 and loops write(2), %d threads", threads),
		wire:  bench.Wire{Path: "/ws?uid={uid}"},
		start: func(context.Context) (server, error) {
			ports := target.NewPorts(20_000)
			f, err := target.NewFloor(target.Setup{Shards: threads, Nodes: []target.Node{{Ports: 1}}, Ports: ports})
			return theFloor{f, ports}, err
		},
	}
}
