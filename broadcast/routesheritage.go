package broadcast

import "maps"

// What a process that goes on as the same node needs to know of pushes to users, so that
// they come once and in order: the paths that its own pushes took, what it confirms as a
// home, and the places of the pushes that it delivered.

// placesState is placesOf.
type placesState struct {
	Node  uint32   `json:"node"`
	Epoch uint64   `json:"epoch"`
	At    int64    `json:"at"`
	Last  []uint64 `json:"last"` // bucket and number, in turns
}

// routesState is routes and confirms. The outbox was empty: no push of this node waits
// or is unconfirmed.
type routesState struct {
	Sent    uint64            `json:"sent"`
	Passed  uint64            `json:"passed"`
	Calm    int64             `json:"calm,omitempty"`
	Place   [2]uint64         `json:"place"` // epoch and number
	Own     [2]uint64         `json:"own"`
	Streams []relaysSent      `json:"streams,omitempty"`
	Last    []uint64          `json:"last,omitempty"` // bucket, number of the last push, and its home or 0, in turns
	Broken  map[uint32]uint64 `json:"broken,omitempty"`
}

// relaysSent is relays.
type relaysSent struct {
	Home   uint32 `json:"home"`
	Epoch  uint64 `json:"epoch"`
	Number uint64 `json:"number"`
	Passed uint64 `json:"passed"`
	Moved  int64  `json:"moved"`
	Closed bool   `json:"closed,omitempty"`
}

func (o *inOrder) bequeath(h *Heritage) {
	for node, n := range o.nodes {
		s := placesState{Node: node, Epoch: n.epoch, At: micros(n.at)}
		for i, page := range n.pages {
			if page == nil {
				continue
			}
			for j, number := range page {
				if number > 0 {
					s.Last = append(s.Last, uint64(i*pageBuckets+j), number)
				}
			}
		}
		h.Places = append(h.Places, s)
	}
}

func (o *inOrder) adopt(h *Heritage) {
	for _, s := range h.Places {
		o.nodes[s.Node] = &placesOf{epoch: s.Epoch, at: instant(s.At)}
		for i := 0; i+1 < len(s.Last); i += 2 {
			if s.Last[i] < userBuckets {
				o.take(s.Node, uint16(s.Last[i]), place{s.Epoch, s.Last[i+1]}, instant(s.At))
			}
		}
	}
}

// refuseAgain tells publishing nodes which of their relays this home does not take. The
// process before may have refused them when its sender was paused already, and without an
// answer a publishing node waits for confirmWait. The receiver does not run yet.
func (r *receiver) refuseAgain() {
	for node, s := range r.relays.streams {
		if s.refused {
			r.refuse(stamp{node: node}, s)
		}
	}
}

// confirmAll sends what is to be confirmed. It runs on the sender's goroutine before it
// is paused.
func (s *sender) confirmAll() {
	s.confirms.send(s.bus, s.confirms.sent.Add(confirmEvery))
}

func (s *sender) bequeath() *routesState {
	r := s.routes
	if r.router == nil {
		return nil
	}
	h := &routesState{Sent: r.sent, Passed: r.passed, Calm: micros(r.calm),
		Place: [2]uint64{r.place.epoch, r.place.number}, Own: [2]uint64{r.own.epoch, r.own.number}, Broken: maps.Clone(s.confirms.broken)}
	for _, due := range []map[uint32]origin{s.confirms.due, s.confirms.sync.due} {
		for node, o := range due { // an embedded server may have had the copies; the publishing nodes send them again
			h.Broken[node] = o.epoch
		}
	}
	for home, st := range r.streams {
		h.Streams = append(h.Streams, relaysSent{Home: home, Epoch: st.epoch, Number: st.number, Passed: st.passed, Moved: micros(st.moved),
			Closed: st.state == relaysOpening || st.state == relaysClosed})
	}
	for b, last := range r.last {
		if last == 0 {
			continue
		}
		home := uint64(0)
		if p := r.path[b]; p != nil && p.state != relaysClosed {
			home = uint64(p.home)
		}
		h.Last = append(h.Last, uint64(b), last, home)
	}
	return h
}

// adopt takes the paths of the process before. A stream that was about to end is open: its
// home refuses it again, or is full again. Fences that were not answered are sent again
// when the next push needs them.
func (s *sender) adopt(h *routesState) {
	if h == nil || !s.routing() {
		return
	}
	r := s.routes
	r.sent, r.passed, r.calm = h.Sent, h.Passed, instant(h.Calm)
	r.place, r.own = place{h.Place[0], h.Place[1]}, origin{r.self, h.Own[0], h.Own[1]}
	if h.Own[0] == 0 {
		r.own = origin{}
	}
	for _, st := range h.Streams {
		n := &relays{home: st.Home, epoch: st.Epoch, number: st.Number, passed: st.Passed, moved: instant(st.Moved)}
		if st.Closed {
			n.state = relaysClosed
		}
		r.streams[st.Home] = n
	}
	for i := 0; i+2 < len(h.Last); i += 3 {
		if b := h.Last[i]; b < userBuckets {
			r.last[b], r.path[b] = h.Last[i+1], r.streams[uint32(h.Last[i+2])]
		}
	}
	for node, epoch := range h.Broken {
		s.confirms.broken[node] = epoch
	}
}
