package auth

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/target"
)

// memory is bytes per idle session, between o.Base and o.Connections of them.
type memory struct {
	RSS       float64 `json:"rss"`
	Anonymous float64 `json:"anonymous"` // without pages backed by files
	Base      int64   `json:"base_rss"`  // of the node with o.Base sessions
}

// grant is what is known of each session.
type grant struct {
	name string
	what string
	content
}

// further are topics that every session has beside its own of benchTopic: three
// together.
var further = []string{"news", "offers"}

const plain = "plain"

// grants are what is compared. The first has no token.
var grants = []grant{
	{plain, "no token", content{}},
	{"uid", "token with uid and topics", content{topics: further}},
	{"expiry", "token with uid, topics and expiry", content{topics: further, expires: true}},
	{"full", "token with uid, topics, expiry and 64 B of meta", content{topics: further, expires: true, meta: true}},
}

func (r *run) measureMemory(ctx context.Context) error {
	r.Memory = make(map[string][]memory)
	i, err := newIssuer(r.folder, "HS256")
	if err != nil {
		return err
	}
	servers := make(map[string]server, len(grants))
	for _, g := range grants {
		if g.name == plain {
			path := bench.DevPath(benchTopic)
			for _, topic := range further {
				path += "&topic=" + topic
			}
			servers[g.name] = server{wire: bench.Wire{Path: path, Topics: benchTopic}}
			continue
		}
		tokens, err := i.write(ctx, g.name+".tokens", r.o.Connections, g.content)
		if err != nil {
			return err
		}
		s := proven(i, tokens)
		s.args = append(s.args, "--set", "auth.jwt.required=", "--set", "auth.max_lifetime=0s") // a token may have no expiry
		servers[g.name] = s
	}
	for round := range r.o.MemoryRounds {
		for _, g := range grants {
			r.p.Step("memory, %s, round %d of %d", g.what, round+1, r.o.MemoryRounds)
			m, err := r.readings(ctx, servers[g.name])
			if err != nil {
				return fmt.Errorf("%s: %w", g.what, err)
			}
			r.Memory[g.name] = append(r.Memory[g.name], m)
		}
	}
	return nil
}

// waves is how often each node is measured. The median counts: once in a while the
// runtime gives memory back between two readings.
const waves = 3

// readings has all sessions come and leave once, so that the memory that every later
// wave of connects uses anew is there already. Then it measures waves.
func (r *run) readings(ctx context.Context, s server) (m memory, err error) {
	err = r.populate(ctx, s, r.o.Connections, func(pop *measure.Population, b *target.Belfry) error {
		if err := pop.Grow(ctx, r.o.Connections); err != nil {
			return err
		}
		if _, err := r.reading(ctx, pop, 0, r.o.Connections); err != nil {
			return err
		}
		var all []memory
		for range waves {
			if err := r.leave(ctx, pop, b); err != nil {
				return err
			}
			low, err := r.reading(ctx, pop, 0, r.o.Base)
			if err != nil {
				return err
			}
			high, err := r.reading(ctx, pop, r.o.Base, r.o.Connections)
			if err != nil {
				return err
			}
			all = append(all, memory{measure.Slope(low, high, measure.RSS), measure.Slope(low, high, measure.Anonymous), low.RSS})
		}
		slices.SortFunc(all, func(x, y memory) int { return cmp.Compare(x.RSS, y.RSS) })
		m = all[waves/2]
		return pop.Verify(ctx)
	})
	return m, err
}

// reading connects sessions from..to, waits, and reads the memory.
func (r *run) reading(ctx context.Context, pop *measure.Population, from, to int) (measure.Reading, error) {
	made, err := pop.Pool.Connect(ctx, from, to)
	if err == nil {
		err = made.Err()
	}
	if err == nil {
		err = bench.Sleep(ctx, r.o.Settle)
	}
	if err != nil {
		return measure.Reading{}, err
	}
	return pop.Read()
}
