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

// measureConnects has all sides in each round, with a token for each connection and
// then with one for all connections of a user. The first side of a round is another one
// each time, so that a drift of the machine affects all.
func (r *run) measureConnects(ctx context.Context) error {
	r.Connects, r.Shared = make(map[string][]connects), make(map[string][]connects)
	servers, shared := make(map[string]server), make(map[string]server)
	for _, name := range r.o.Algorithms {
		var i *issuer // with one key for both
		var err error
		if name != "none" {
			i, err = newIssuer(r.folder, name)
		}
		if err == nil {
			servers[name], err = r.connectServer(ctx, name, i, r.o.Connections)
		}
		if err == nil && r.o.PerUser > 1 {
			shared[name], err = r.connectServer(ctx, name, i, r.o.users())
		}
		if err != nil {
			return err
		}
	}
	for round := range r.o.Rounds {
		for k := range r.o.Algorithms {
			name := r.o.Algorithms[(k+round)%len(r.o.Algorithms)]
			if err := r.connectRound(ctx, servers[name], r.Connects, name, round); err != nil {
				return err
			}
			if r.o.PerUser > 1 {
				if err := r.connectRound(ctx, shared[name], r.Shared, name, round); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// connectServer returns a node whose clients are so many users. Connection n is of user
// n modulo that, as in all scenarios, and has the user's token, which i signed; without i there are no tokens.
func (r *run) connectServer(ctx context.Context, algorithm string, i *issuer, users int) (server, error) {
	topics := benchTopic
	if users%topics != 0 {
		topics = users // so that all connections of a user have the same topic
	}
	if i == nil {
		return server{wire: bench.Wire{Path: bench.DevPath(topics), Topics: topics, Users: users}}, nil
	}
	r.p.Note("signing tokens of %d users with %s", users, algorithm)
	tokens, err := i.write(ctx, fmt.Sprintf("%s.%d.tokens", algorithm, users), r.o.Connections, content{expires: true, users: users, ownTopics: topics})
	s := proven(i, tokens)
	s.wire.Users = users
	return s, err
}

func (r *run) connectRound(ctx context.Context, s server, into map[string][]connects, name string, round int) error {
	r.p.Step("connects of %d users, %s, round %d of %d", s.wire.Users, name, round+1, r.o.Rounds)
	c, err := r.connect(ctx, s)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	into[name] = append(into[name], c)
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
