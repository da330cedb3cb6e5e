package poller

// openAccepted opens an accepted connection and reads it at once: with
// TCP_DEFER_ACCEPT the request has usually arrived already.
func (s *Shard) openAccepted(fd int32, state any) {
	slot, ok := s.open(fd)
	if !ok {
		s.Counters.AcceptRefused.Add(1)
		sysClose(fd)
		return
	}
	id := s.id(slot)
	defer s.guard.recoverConn(id)
	s.handler.OnOpen(slot, state)
	if s.alive(slot, id.gen()) {
		s.receiver.read(slot, s.at(slot))
	}
	if s.alive(slot, id.gen()) {
		s.awaitEvents(slot)
	}
}

// openArrival opens a connection that came from another shard or from outside,
// and shows the handler the unread bytes that came with it.
func (s *Shard) openArrival(a *arrival) {
	if s.stopped.Load() {
		s.dropArrival(a)
		return
	}
	slot, ok := s.open(int32(a.FD))
	if !ok {
		s.Counters.AcceptRefused.Add(1)
		s.dropArrival(a)
		if h, ok := s.handler.(Refuser); ok {
			s.guard.protect(0, func() { h.OnRefused(a.State) })
		}
		return
	}
	in := *a
	*a = arrival{}
	s.loop.arrivals.Put(a)
	id := s.id(slot)
	defer s.guard.recoverConn(id)
	c := s.at(slot)
	if in.adopted || in.foreign {
		c.flags |= flagAdopted
	}
	s.sender.adopt(slot, c, &in)
	s.receiver.accounts.adoptUnread(slot, c, in.Unread) // before the handler, which may move the socket on
	if in.adopted {
		s.Counters.Adopted.Add(1)
		s.handler.OnOpen(slot, in.State)
	} else {
		s.Counters.MovedIn.Add(1)
		s.handler.OnMoved(slot, in.State)
	}
	if s.alive(slot, id.gen()) {
		s.receiver.receiveUnread(slot, c)
	}
	if s.alive(slot, id.gen()) {
		s.awaitEvents(slot)
	}
}

// awaitEvents has a new connection, which is still open and in this shard after
// its first read, wait for events.
func (s *Shard) awaitEvents(slot uint32) {
	id := s.id(slot)
	if h, ok := s.handler.(HalfOpener); ok {
		h.OnHalfOpen(slot)
	}
	if s.alive(slot, id.gen()) {
		s.watch(slot, s.at(slot))
	}
}
