package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sort"
	"sync"
	"time"

	"belfry/broadcast"
)

// Users returns the presence of up to MaxUsers users. Holders counts the sessions of
// those who are online at other nodes. About the rest every node is asked once, or a
// few times if the names do not fit into one message: a node may have a session that
// is not known yet, or remember when the user was last seen.
func (r *Reader) Users(ctx context.Context, uids []string) (*Users, error) {
	known := make(chan []Held, 1)
	go func() { known <- r.holders(ctx, uids) }()
	sum := newUsersSum(uids)
	everybody := make([]int, len(uids))
	for i := range everybody {
		everybody[i] = i
	}
	own, err := r.users(ctx, &question{UIDs: uids})
	sum.add(r.opt.Self.Name, everybody, own, err)
	var wg sync.WaitGroup
	for _, g := range groups(uids, sum.offline(<-known)) {
		wg.Go(func() {
			for _, a := range r.askAbout(ctx, g, uids) {
				answer := new(usersAnswer)
				if a.Err == nil {
					a.Err = json.Unmarshal(a.Body, answer)
				}
				sum.add(a.Name, g, answer, a.Err)
			}
		})
	}
	wg.Wait()
	u := sum.total()
	if r.opt.Degraded != nil {
		u.Degraded = r.opt.Degraded()
	}
	return u, nil
}

// usersSum adds up the answers of nodes about many users.
type usersSum struct {
	mu       sync.Mutex // guards the fields below
	users    *Users
	answered map[string]bool // by name of the node
}

func newUsersSum(uids []string) *usersSum {
	s := &usersSum{users: &Users{Users: make([]UserPresence, len(uids))}, answered: map[string]bool{}}
	for i, uid := range uids {
		s.users.Users[i].UID = uid
	}
	return s
}

// add adds what a node answered about the users at some places of the list. Any
// goroutine.
func (s *usersSum) add(node string, places []int, a *usersAnswer, err error) {
	if err == nil && (len(a.Sessions) != len(places) || len(a.Seen) != len(places)) {
		err = fmt.Errorf("an answer about %d users; asked was about %d", len(a.Sessions), len(places))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		if !slices.ContainsFunc(s.users.Silent, func(silent Silent) bool { return silent.Node == node }) {
			s.users.silent(node, detail(err))
		}
		return
	}
	s.answered[node] = true
	for i, place := range places {
		u := &s.users.Users[place]
		u.Sessions += a.Sessions[i]
		u.LastSeen = later(u.LastSeen, seconds(a.Seen[i]))
	}
}

// total returns the sum when all answers are there.
func (s *usersSum) total() *Users {
	u := s.users
	for _, silent := range u.Silent {
		delete(s.answered, silent.Node) // a part of its answers is missing
	}
	u.Nodes = len(s.answered)
	sort.Slice(u.Silent, func(i, j int) bool { return u.Silent[i].Node < u.Silent[j].Node })
	for i := range u.Users {
		if u.Users[i].Sessions > 0 {
			u.Users[i].LastSeen = time.Time{}
		}
	}
	return u
}

// offline adds what is known of users at other nodes, and returns the places of those
// of whom no session is known anywhere.
func (s *usersSum) offline(known []Held) (places []int) {
	for place := range known {
		h, u := &known[place], &s.users.Users[place]
		if h.nobody() && (h.Unknown || u.Sessions == 0) {
			places = append(places, place)
			continue
		}
		u.Sessions += h.Sessions
		for _, p := range h.Nodes {
			s.answered[p.Name] = true
		}
	}
	return places
}

// groups divides places so that the names of each group fit into a message.
func groups(uids []string, places []int) (all [][]int) {
	size := answerRoom
	for _, place := range places {
		name, _ := encode(uids[place])
		if size += len(name); size > answerRoom {
			all, size = append(all, nil), len(name)
		}
		last := &all[len(all)-1]
		*last = append(*last, place)
	}
	return all
}

// askAbout asks all nodes about the users at some places.
func (r *Reader) askAbout(ctx context.Context, places []int, uids []string) []broadcast.Answer {
	q := &question{}
	for _, place := range places {
		q.UIDs = append(q.UIDs, uids[place])
	}
	body, err := encode(q)
	if err != nil {
		return nil // strings can be encoded
	}
	return r.opt.Control.AskAll(ctx, kindUsers, body)
}
