package auth

import (
	"context"
	"fmt"

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

// readings connects o.Base sessions, waits, reads, and the same with all.
func (r *run) readings(ctx context.Context, s server) (m memory, err error) {
	err = r.populate(ctx, s, r.o.Connections, func(pop *measure.Population, _ *target.Belfry) error {
		var low, high measure.Reading
		for _, step := range []struct {
			n    int
			into *measure.Reading
		}{{r.o.Base, &low}, {r.o.Connections, &high}} {
			if err := pop.Connect(ctx, step.n); err != nil {
				return err
			}
			if err := bench.Sleep(ctx, r.o.Settle); err != nil {
				return err
			}
			if *step.into, err = pop.Read(); err != nil {
				return err
			}
		}
		m = memory{measure.Slope(low, high, measure.RSS), measure.Slope(low, high, measure.Anonymous), low.RSS}
		return pop.Verify(ctx)
	})
	return m, err
}
