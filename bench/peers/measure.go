package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"belfry/bench/peers/peer"
	"belfry/bench/peers/servers/centrifugo"
	"belfry/bench/peers/servers/socketio"
	"belfry/bench/report"
	"belfry/bench/tool"
)

// measureAll measures everything. Every round begins with another server, so that
// a drift of the machine affects all. With an error it also returns the report so
// far.
func measureAll(ctx context.Context, o *options, p *tool.Progress) (*report.Report, error) {
	rep, err := report.New("peers")
	if err != nil {
		return nil, err
	}
	r := &results{Connections: o.Connections}
	lineup, err := contenders(ctx, o, r, p)
	if err != nil {
		return nil, err
	}
	for _, c := range lineup {
		r.Servers = append(r.Servers, &result{Name: c.name, About: c.about})
	}
	defer r.fill(rep, o)
	p.Begin(o.Rounds * len(lineup))
	for i := range o.Rounds {
		for j := range lineup {
			at := (i + j) % len(lineup)
			c := lineup[at]
			p.Step("%s, round %d of %d", c.name, i+1, o.Rounds)
			round, err := measureRound(ctx, o, c, p)
			if err != nil {
				return rep, fmt.Errorf("%s, round %d: %w", c.name, i+1, err)
			}
			if round.Problem != "" {
				p.Say("%s, round %d: %s", c.name, i+1, round.Problem)
			}
			r.Servers[at].Rounds = append(r.Servers[at].Rounds, round)
		}
		r.Rounds = i + 1
	}
	return rep, nil
}

// contenders returns the servers of the table in its order; servers that this
// machine cannot run are noted in r.
func contenders(ctx context.Context, o *options, r *results, p *tool.Progress) ([]contender, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	lineup := []contender{fromDefinition(peer.ForBelfry(o.Shards), o.Belfry), floorContender(o.Shards)}
	for _, name := range peer.Libraries() {
		if o.measures(name) {
			lineup = append(lineup, fromDefinition(peer.ForLibrary(name), self))
		}
	}
	if o.measures(peer.SocketIO) {
		p.Say("installing socket.io unless %s has it", o.Cache)
		command, err := socketio.Install(ctx, o.Cache)
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case errors.Is(err, socketio.ErrNoNode):
			r.Skipped = append(r.Skipped, peer.SocketIO+": "+err.Error())
		case err != nil:
			return nil, err
		default:
			lineup = append(lineup, fromDefinition(peer.ForSocketIO(command), ""))
		}
	}
	external, err := externals(ctx, o, r, p)
	return append(lineup, external...), err
}

// externals returns the servers that are programs of their own: those that were
// given, and Centrifugo, which is built if it was not.
func externals(ctx context.Context, o *options, r *results, p *tool.Progress) ([]contender, error) {
	var all []contender
	for _, name := range names(o.external) {
		if !o.measures(name) {
			continue
		}
		d := o.external[name]
		needs := strings.Contains(strings.Join(d.Command, " "), "{binary}")
		program := o.programs[name]
		if name == peer.Centrifugo && program == "" {
			p.Say("building Centrifugo %s unless %s has it; the first time takes minutes", centrifugo.Version, o.Cache)
			var err error
			switch program, err = centrifugo.Build(ctx, o.Cache); {
			case ctx.Err() != nil:
				return nil, context.Cause(ctx)
			case errors.Is(err, centrifugo.ErrNotBuilt):
				r.Skipped = append(r.Skipped, name+": "+err.Error())
				continue
			case err != nil:
				return nil, err
			}
		}
		if needs && program == "" {
			r.Skipped = append(r.Skipped, fmt.Sprintf("%s: its program is not given (--with %s=PROGRAM)", name, name))
			continue
		}
		all = append(all, fromDefinition(d, program))
	}
	return all, nil
}
