package auth

import (
	"context"
	"fmt"
	"time"

	"belfry/bench"
	"belfry/bench/measure"
	"belfry/bench/target"
)

// side is one way to prove who a client is.
type side struct {
	algorithm string  // "none": no token, the user is in the query
	least     float64 // connects with new tokens against those of "none"
}

var sides = []side{{"none", 0}, {"HS256", 0.85}, {"EdDSA", 0.5}, {"RS256", 0.6}, {"ES256", 0.4}}

// connects is the result of one side in one round.
type connects struct {
	New       float64 `json:"new_per_second"`  // the node sees each token for the first time
	Back      float64 `json:"back_per_second"` // all clients were reset, and come back with the same tokens
	NewCPU    float64 `json:"new_cpu_us"`      // of the node for each connection
	BackCPU   float64 `json:"back_cpu_us"`
	CacheHits float64 `json:"cache_hits"` // of the clients that came back
}

// measureConnects has all sides in each round. The first side of a round is another
// one each time, so that a drift of the machine affects all.
func (r *run) measureConnects(ctx context.Context) error {
	r.Connects = make(map[string][]connects)
	servers := make(map[string]server, len(r.o.Algorithms))
	for _, name := range r.o.Algorithms {
		if name == "none" {
			servers[name] = server{wire: bench.Wire{Path: bench.DevPath(benchTopic), Topics: benchTopic}}
			continue
		}
		r.p.Note("signing tokens with %s", name)
		i, err := newIssuer(r.folder, name)
		if err != nil {
			return err
		}
		tokens, err := i.write(ctx, name+".tokens", r.o.Connections, content{expires: true})
		if err != nil {
			return err
		}
		servers[name] = proven(i, tokens)
	}
	for round := range r.o.Rounds {
		for k := range r.o.Algorithms {
			name := r.o.Algorithms[(k+round)%len(r.o.Algorithms)]
			r.p.Step("connects, %s, round %d of %d", name, round+1, r.o.Rounds)
			c, err := r.connect(ctx, servers[name])
			if err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			r.Connects[name] = append(r.Connects[name], c)
		}
	}
	return nil
}

// connect makes all connections, resets them, and makes them again.
func (r *run) connect(ctx context.Context, s server) (c connects, err error) {
	err = r.populate(ctx, s, r.o.Connections, func(pop *measure.Population, b *target.Belfry) error {
		if err := pop.Grow(ctx, r.o.Connections); err != nil {
			return err
		}
		if c.New, c.NewCPU, err = r.timed(ctx, pop, b); err != nil {
			return err
		}
		if err := r.leave(ctx, pop, b); err != nil {
			return err
		}
		if c.Back, c.BackCPU, err = r.timed(ctx, pop, b); err != nil {
			return fmt.Errorf("coming back: %w", err)
		}
		c.CacheHits, err = b.Metric(ctx, 0, "belfry_token_cache_hits_total")
		return err
	})
	return c, err
}

// timed makes all connections, and returns their rate and the node's CPU for each,
// in µs, until it has come to rest. All must be sessions then.
func (r *run) timed(ctx context.Context, pop *measure.Population, b *target.Belfry) (rate, cpu float64, err error) {
	before, err := pop.SettledCPU(ctx)
	if err != nil {
		return 0, 0, err
	}
	made, err := pop.Pool.Connect(ctx, 0, r.o.Connections)
	if err == nil {
		err = made.Err()
	}
	if err != nil {
		return 0, 0, err
	}
	after, err := pop.SettledCPU(ctx)
	if err != nil {
		return 0, 0, err
	}
	if err := pop.Verify(ctx); err != nil {
		return 0, 0, err
	}
	sessions, err := b.Sessions(ctx)
	if err == nil && sessions != r.o.Connections {
		err = fmt.Errorf("the node has %d sessions, not %d", sessions, r.o.Connections)
	}
	return made.PerSecond(), (after - before).Seconds() * 1e6 / float64(r.o.Connections), err
}

// leaving bounds the time in which a node notices that all clients are gone.
const leaving = time.Minute

// leave resets all connections and waits until the node has noticed.
func (r *run) leave(ctx context.Context, pop *measure.Population, b *target.Belfry) error {
	if err := pop.Pool.Drop(ctx); err != nil {
		return err
	}
	return target.Until(ctx, leaving, b.Processes(), func() error {
		n, err := b.Sessions(ctx)
		if err == nil && n > 0 {
			err = fmt.Errorf("%d sessions are still there", n)
		}
		return err
	})
}
