package presence

import (
	"context"
	"encoding/json"
	"fmt"

	"belfry/broadcast"
)

// Counts returns how many sessions are subscribed to topics on all nodes, in the order
// of the topics. Each node is asked once, or a few times if the names do not fit into one
// message. A node that does not answer about all of them is in Reach.Silent.
func (r *Reader) Counts(ctx context.Context, topics []string) (counts []int, reach Reach, err error) {
	all := make([]int, len(topics))
	for i := range all {
		all[i] = i
	}
	counts = make([]int, len(topics))
	for i, places := range groups(topics, all) {
		q := &question{}
		for _, place := range places {
			q.Topics = append(q.Topics, topics[place])
		}
		answers, one, err := gather(ctx, r, q, r.counts, func(body []byte) []broadcast.Answer { return r.askCounts(ctx, body, len(places)) })
		if err != nil {
			return nil, reach, err
		}
		for _, a := range answers {
			for j, n := range a.Counts {
				counts[places[j]] += n
			}
		}
		if one.Silent = append(reach.Silent, one.Silent...); i > 0 {
			one.Nodes = min(one.Nodes, reach.Nodes)
		}
		reach = one
	}
	return counts, reach, nil
}

// askCounts asks the other nodes. An answer about other than n topics is an error.
func (r *Reader) askCounts(ctx context.Context, body []byte, n int) []broadcast.Answer {
	answers := r.opt.Control.AskAll(ctx, kindCounts, body)
	for i := range answers {
		a, got := &answers[i], countsAnswer{}
		if a.Err == nil && (json.Unmarshal(a.Body, &got) != nil || len(got.Counts) != n) {
			a.Err = fmt.Errorf("an answer about %d topics; asked was about %d", len(got.Counts), n)
		}
	}
	return answers
}
