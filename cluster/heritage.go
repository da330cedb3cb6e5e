package cluster

import (
	"time"

	"belfry/broadcast"
)

// Heritage is what a process that goes on as the same node needs of the directory. The
// sessions of other nodes are not part of it: their holders are asked to compare, and
// until they have, pushes to users go to all nodes.
type Heritage struct {
	Number  uint64               `json:"number"`  // of the last body sent
	Members []MemberHeritage     `json:"members"` // without the node itself
	Lost    map[uint32]time.Time `json:"lost"`    // nodes that are gone without having left, and since when
}

// MemberHeritage is a member as it is handed over.
type MemberHeritage struct {
	ID       uint32    `json:"id"`
	Name     string    `json:"name"`
	Instance string    `json:"instance"`
	Version  string    `json:"version"`
	Load     uint64    `json:"load"`
	State    State     `json:"state"`
	Routes   bool      `json:"routes"`
	Heard    time.Time `json:"heard"`
	Left     bool      `json:"left"`
	Former   []string  `json:"former,omitempty"` // instances of earlier processes
}

// bodiesAhead is added to the number of the last body, so that no body of the process
// before, which may still be on its way, has a higher one.
const bodiesAhead = 1 << 20

// Bequeath returns what a process that goes on as this node needs. The directory goes on.
func (d *Directory) Bequeath() *Heritage {
	h := &Heritage{Members: d.opt.Members.bequeath()}
	d.mu.Lock()
	defer d.mu.Unlock()
	h.Number, h.Lost = d.number, make(map[uint32]time.Time, len(d.lost))
	for node, since := range d.lost {
		h.Lost[node] = since
	}
	return h
}

// Inherit goes on as the node that h is of. It is called after broadcast.Node.Take and
// before Run.
func (d *Directory) Inherit(h *Heritage) {
	self := d.control.Self()
	d.mu.Lock()
	d.self = self
	d.number = h.Number + bodiesAhead
	for node, since := range h.Lost {
		d.lost[node] = since
	}
	d.mu.Unlock()
	d.opt.Members.inherit(h.Members)
}

func (m *Members) bequeath() (all []MemberHeritage) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, n := range m.nodes {
		all = append(all, MemberHeritage{n.ID, n.Name, n.Instance, n.Version, n.Load, n.State, n.Routes, n.Heard, n.Left, m.former[id]})
	}
	return all
}

// inherit takes the members of the process before. Watchers are told of those that are
// present, as of nodes that were not known.
func (m *Members) inherit(all []MemberHeritage) {
	m.mu.Lock()
	for _, h := range all {
		if m.nodes[h.ID] != nil {
			continue // its beacon was heard meanwhile
		}
		n := &Member{Peer: broadcast.Peer{ID: h.ID, Name: h.Name}, Instance: h.Instance, Version: h.Version, Load: h.Load, State: h.State,
			Routes: h.Routes, Heard: h.Heard, Left: h.Left, leaving: h.State == Leaving}
		m.nodes[h.ID] = n
		if len(h.Former) > 0 {
			m.former[h.ID] = h.Former
		}
		m.changed(Change{Member: *n, Was: Gone})
	}
	m.mu.Unlock()
	m.tellAll()
}
