package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"belfry/cluster"
	"belfry/presence"
)

// holders gives presence access to the cluster's directory.
type holders struct{ *directory }

// Holders implements presence.Holders. While a home does not answer, or does not know
// everything yet, nothing is known of all users that were asked for.
func (h holders) Holders(ctx context.Context, uids []string) []presence.Held {
	asking, cancel := context.WithTimeout(ctx, homesTime(ctx))
	defer cancel()
	all := make([]presence.Held, len(uids))
	found, err := h.WhereMany(asking, uids)
	if err != nil {
		for i := range all {
			all[i].Unknown = true
		}
		return all
	}
	peers, self := h.control.Peers(), h.control.Self().ID
	for i, uid := range uids {
		for _, holder := range found[uid] {
			switch {
			case holder.ID == self:
				all[i].Here = true
			case slices.Contains(peers, holder.Peer): // else the bus has lost it a moment before the directory
				all[i].Nodes = append(all[i].Nodes, holder.Peer)
				all[i].Sessions += holder.Count
			}
		}
	}
	return all
}

// homesTime is how long homes are asked: a quarter of the time, so that nodes can be
// asked themselves if a home does not answer.
func homesTime(ctx context.Context) time.Duration {
	most := time.Second
	if deadline, ok := ctx.Deadline(); ok {
		most = min(most, time.Until(deadline)/4)
	}
	return most
}

// view returns the members as presence shows them.
func (d *directory) view() (all []presence.Sighting) {
	for _, m := range d.members.View() {
		one := presence.Sighting{Peer: m.Peer, State: m.State.String(), Self: m.Self, Heard: m.Heard, Version: m.Version, Sessions: m.Load}
		switch {
		case m.State == cluster.Gone && m.Left:
			one.Detail = "it has left"
		case m.State == cluster.Gone:
			one.Detail = fmt.Sprintf("no beacon since %s", m.Heard.UTC().Format(time.RFC3339))
		}
		all = append(all, one)
	}
	return all
}
