package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"

	"belfry/handover"
	"belfry/poller"
	"belfry/session"
)

// Sections and descriptors of what a successor opens with (docs/handover.md).
const (
	sectionSessions = "sessions"
	fileClients     = "clients"
	fileAPI         = "api"
	fileTLS         = "tls"
)

// inheritance is what this process opens with, taken over from another one.
type inheritance struct {
	sessions *session.Heritage
	api, tls []*net.TCPListener
}

// sessionsSection is the section of session.Heritage. Unknown fields are ignored.
type sessionsSection struct {
	Key         []byte            `json:"key"`
	Variants    []string          `json:"variants"`
	Clocks      []uint32          `json:"clocks"`
	Generations []uint32          `json:"generations"`
	LastSeen    [][]byte          `json:"last_seen"`
	Listeners   []listenerSection `json:"listeners"` // in the order of their descriptors
}

type listenerSection struct {
	Shard int `json:"shard"`
	Range int `json:"range"`
}

// errDraining is why a node that drains has no successor: it would take clients again.
var errDraining = errors.New("this node drains: stop that first (belfry drain --stop), or stop the node when it is empty")

var errStopping = errors.New("this node is shutting down")

// Inherit implements handover.Predecessor.
func (p predecessor) Inherit() (in *handover.Inheritance, err error) {
	p.restart.inherits.Lock() // the listeners are not closed meanwhile
	defer p.restart.inherits.Unlock()
	switch {
	case p.stopping.Load():
		return nil, errStopping
	case p.drain.active.Load():
		return nil, errDraining
	}
	in = &handover.Inheritance{Sections: map[string][]byte{}}
	add := func(name string, fds []int, err error) error {
		in.FDs = append(in.FDs, fds...)
		for range fds {
			in.Files = append(in.Files, name)
		}
		return err
	}
	h := p.sessions.Bequeath()
	s := sessionsSection{Key: h.Key[:], Variants: h.Variants, Clocks: h.Poller.Clocks, Generations: h.Poller.Generations, LastSeen: h.LastSeen}
	var own []int
	for _, l := range h.Poller.Listeners {
		own = append(own, l.FD)
		s.Listeners = append(s.Listeners, listenerSection{l.Shard, l.Range})
	}
	if in.Sections[sectionSessions], err = json.Marshal(&s); err != nil {
		return in, err
	}
	fds, err := handover.Duplicate(own)
	if err = add(fileClients, fds, err); err != nil {
		return in, err
	}
	fds, err = handover.Copies(p.api.Sockets())
	if err = add(fileAPI, fds, err); err != nil || p.bridge == nil {
		return in, err
	}
	fds, err = handover.Copies(p.bridge.Sockets())
	return in, add(fileTLS, fds, err)
}

// parseInheritance reads what Inherit returned in the other process. Descriptors that it
// does not return stay the successor's.
func parseInheritance(s *handover.Successor) (in *inheritance, err error) {
	var section sessionsSection
	if err := json.Unmarshal(s.In.Sections[sectionSessions], &section); err != nil {
		return nil, fmt.Errorf("hot restart: section %s: %w", sectionSessions, err)
	}
	fds := s.In.Take(fileClients)
	if len(section.Key) != len(session.Heritage{}.Key) || len(fds) != len(section.Listeners) {
		return nil, fmt.Errorf("hot restart: a key of %d bytes, and %d listening sockets for %d descriptions", len(section.Key), len(fds), len(section.Listeners))
	}
	h := &session.Heritage{Key: [32]byte(section.Key), Variants: section.Variants, LastSeen: section.LastSeen, From: s,
		Poller: poller.Heritage{Clocks: section.Clocks, Generations: section.Generations}}
	for i, l := range section.Listeners {
		h.Poller.Listeners = append(h.Poller.Listeners, poller.Listening{Shard: l.Shard, FD: fds[i], Range: l.Range})
	}
	for shard := range s.In.Shards {
		h.Marks = append(h.Marks, s.Marks(shard))
	}
	in = &inheritance{sessions: h}
	if in.api, err = handover.Listeners(s.In.Take(fileAPI)); err == nil {
		in.tls, err = handover.Listeners(s.In.Take(fileTLS))
	}
	if err == nil && len(in.api) == 0 {
		err = errors.New("no listening socket of the API")
	}
	if err != nil {
		return nil, fmt.Errorf("hot restart: %w", err)
	}
	return in, nil
}
