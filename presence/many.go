package presence

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"belfry/broadcast"
)

// Users returns the presence of up to MaxUsers users. Each node concerned is asked once,
// or a few times if the names do not fit into one message.
func (r *Reader) Users(ctx context.Context, uids []string) (*Users, error) {
	sum := newUsersSum(uids)
	var wg sync.WaitGroup
	for _, g := range r.groups(uids) {
		wg.Go(func() {
			for _, a := range g.ask(ctx, r, uids) {
				answer := new(usersAnswer)
				if a.Err == nil {
					a.Err = json.Unmarshal(a.Body, answer)
				}
				sum.add(a.Name, g.places, answer, a.Err)
			}
		})
	}
	everybody := make([]int, len(uids))
	for i := range everybody {
		everybody[i] = i
	}
	own, err := r.users(ctx, &question{UIDs: uids})
	sum.add(r.opt.Self.Name, everybody, own, err)
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
	slices.SortFunc(u.Silent, func(a, b Silent) int { return strings.Compare(a.Node, b.Node) })
	for i := range u.Users {
		if u.Users[i].Sessions > 0 {
			u.Users[i].LastSeen = time.Time{}
		}
	}
	return u
}

// group are users about whom the same nodes are asked, in one message.
type group struct {
	nodes  []broadcast.Peer
	all    bool
	places []int // of the users, in the list that was asked for
	size   int   // bytes of their names
}

// groups divides users by the nodes that may hold them, and so that the names of a group
// fit into a message.
func (r *Reader) groups(uids []string) (groups []*group) {
	open := map[string]*group{} // by nodes
	for place, uid := range uids {
		g := &group{all: true}
		if r.opt.Holders != nil {
			g.nodes, g.all = r.opt.Holders.Holders(uid)
		}
		if !g.all && len(g.nodes) == 0 {
			continue
		}
		key := fmt.Sprint(g.all, g.nodes)
		name, _ := encode(uid)
		if last := open[key]; last != nil && last.size+len(name) <= answerRoom {
			g = last
		} else {
			open[key] = g
			groups = append(groups, g)
		}
		g.places, g.size = append(g.places, place), g.size+len(name)
	}
	return groups
}

// ask asks the nodes of a group.
func (g *group) ask(ctx context.Context, r *Reader, uids []string) []broadcast.Answer {
	q := &question{}
	for _, place := range g.places {
		q.UIDs = append(q.UIDs, uids[place])
	}
	body, err := encode(q)
	if err != nil {
		return nil // strings can be encoded
	}
	if g.all {
		return r.opt.Control.AskAll(ctx, kindUsers, body)
	}
	return r.askEach(ctx, g.nodes, kindUsers, body)
}

// Nodes returns every node that is known.
func (r *Reader) Nodes(ctx context.Context) (*Nodes, error) {
	peers := r.opt.Control.Peers()
	all := make([]Node, len(peers)+1)
	var wg sync.WaitGroup
	for i, p := range peers {
		wg.Go(func() { all[i+1] = r.askNode(ctx, p) })
	}
	own := r.opt.Local.State(ctx)
	all[0] = Node{Name: r.opt.Self.Name, ID: fmt.Sprintf("%08x", r.opt.Self.ID), State: StateAlive, Self: true, NodeState: &own}
	wg.Wait()
	slices.SortFunc(all, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	n := &Nodes{Nodes: all}
	if r.opt.Degraded != nil {
		n.Degraded = r.opt.Degraded()
	}
	return n, nil
}

// askNode asks one node about itself, and compares its clock with this node's.
func (r *Reader) askNode(ctx context.Context, p broadcast.Peer) Node {
	n := Node{Name: p.Name, ID: fmt.Sprintf("%08x", p.ID), State: StateSilent}
	begun := time.Now()
	body, err := r.opt.Control.Ask(ctx, p.ID, kindNode, []byte("{}"))
	took := time.Since(begun)
	var a nodeAnswer
	if err == nil {
		err = json.Unmarshal(body, &a)
	}
	if err != nil {
		n.Detail = detail(err)
		return n
	}
	way := max(took-a.Took, 0)
	skew := (time.Unix(0, a.At).Sub(begun) - way/2).Seconds()
	wrong := (way / 2).Seconds()
	n.State, n.NodeState, n.Skew, n.SkewError = StateAlive, &a.State, &skew, &wrong
	return n
}
