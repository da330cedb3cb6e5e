package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"belfry/cluster"
	"belfry/events"
	"belfry/gateway"
)

// goneSessions tells of the sessions of nodes that are gone: backends, or those who read
// events. The directory must not wait for them, so what is to be told waits here. The
// loss of a node adds at most what the directory kept of it (cluster.max_sessions in all).
// A node that comes back and is lost again adds its sessions again.
type goneSessions struct {
	takes func(*gateway.Ended) bool
	tell  func(*gateway.Ended) // may wait
	wake  chan struct{}        // capacity 1: list is not empty, or closed is set
	ended sync.WaitGroup

	left atomic.Int64 // sessions in list, and those that run has taken out of it

	mu     sync.Mutex // guards this group
	list   []gateway.Ended
	closed bool
}

// watchGone watches the sessions whose node is gone. It is called before the bus starts.
func (n *belfry) watchGone() {
	if n.directory == nil {
		return
	}
	if n.gateway != nil {
		n.gone = &goneSessions{takes: n.gateway.Takes, tell: n.gateway.NodeGone, wake: make(chan struct{}, 1)}
		n.directory.OnGone(n.gone.add)
	}
	if n.events != nil && n.events.Wants(events.Closed) {
		n.goneEvents = &goneSessions{takes: func(*gateway.Ended) bool { return true }, tell: n.tellGone, wake: make(chan struct{}, 1)}
		n.directory.OnGone(n.goneEvents.add)
	}
}

// start begins to tell. It is called after those who are told have started.
func (s *goneSessions) start() {
	if s != nil {
		s.ended.Go(s.run)
	}
}

// add takes the sessions that somebody wants to hear of.
func (s *goneSessions) add(node cluster.Member, sessions []cluster.GoneSession) {
	var list []gateway.Ended
	for i := range sessions {
		one := &sessions[i]
		e := gateway.Ended{UID: one.UID, Node: node.Name, Route: one.Session.Route, Since: one.Session.Since}
		if s.takes(&e) {
			e.SID = one.Session.Key.SID(node.ID)
			list = append(list, e)
		}
	}
	s.left.Add(int64(len(list)))
	s.mu.Lock()
	s.list = append(s.list, list...)
	s.mu.Unlock()
	s.wakeUp()
}

func (s *goneSessions) wakeUp() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

func (s *goneSessions) run() {
	for range s.wake {
		s.mu.Lock()
		list, closed := s.list, s.closed
		s.list = nil
		s.mu.Unlock()
		for i := range list {
			s.tell(&list[i])
			s.left.Add(-1)
		}
		if closed {
			return
		}
	}
}

// waiting returns how many sessions are still to be told of.
func (s *goneSessions) waiting() uint64 {
	if s == nil {
		return 0
	}
	return uint64(max(s.left.Load(), 0))
}

// flush waits until everything is told, or ctx is done.
func (s *goneSessions) flush(ctx context.Context) {
	for s.waiting() > 0 {
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return
		}
	}
}

// close ends the goroutine. It is called after those who are told have shut down: they
// count what is left as dropped.
func (s *goneSessions) close() {
	if s == nil {
		return
	}
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.wakeUp()
	s.ended.Wait()
}
