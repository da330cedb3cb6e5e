package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"time"

	"belfry/bench"
	"belfry/bench/publish"
)

// presence asks random nodes for random users, one question after the other.
func (c *population) presence(ctx context.Context, one *round) error {
	took := bench.NewHistogram()
	for i := range c.o.Asks {
		holder, asked := rand.N(three), rand.N(three)
		who := uid(holder, rand.N(c.o.users()))
		begun := time.Now()
		body, err := publish.Get(ctx, patience, "http://"+c.API(asked)+"/v1/users/"+who+"?limit=1")
		took.Record(int64(time.Since(begun)))
		if err != nil {
			return err
		}
		var u struct {
			Count  int `json:"count"`
			Silent []struct {
				Node string `json:"node"`
			} `json:"silent"`
		}
		if err := json.Unmarshal(body, &u); err != nil || u.Count != c.o.PerUser || len(u.Silent) > 0 {
			return fmt.Errorf("%s has %d sessions, says node %d: %.300s (%v)", who, c.o.PerUser, asked, body, err)
		}
		if i%100 == 0 {
			c.p.Set(i, "%d questions", i)
		}
	}
	one.Presence = took.Quantiles()
	return nil
}
