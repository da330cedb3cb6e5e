package broadcast

import (
	"time"

	"belfry/broadcast/line"
)

// heritageVersion is the version of Heritage.
const heritageVersion = 1

// Heritage is what a process that goes on as the same node needs of the bus. All
// instants are microseconds since 1970.
type Heritage struct {
	Version   int              `json:"version"`
	Node      uint32           `json:"node"`
	Name      string           `json:"name"`
	Instance  string           `json:"instance"`
	Reachable bool             `json:"reachable"`      // at some time messages could reach other nodes
	Line      *line.State      `json:"line,omitempty"` // nil: the process opens a connection of its own
	Started   int64            `json:"started"`        // when the first process started
	Begun     int64            `json:"begun"`          // the fixed subjects are subscribed since then; 0: they are not
	Topics    map[string]int64 `json:"topics"`         // topics that were subscribed lately, since when; the others long ago

	Round     uint64      `json:"round"` // of the last beacon
	Idle      int         `json:"idle"`
	SinceList int         `json:"since_list"`
	Epoch     uint64      `json:"epoch"`
	Sent      []sentState `json:"sent"`

	Peers  []peerState    `json:"peers"`
	Nodes  []streamsState `json:"nodes"`
	Recent recentState    `json:"recent"`
	Relays []relayState   `json:"relays,omitempty"`
	Marks  []markState    `json:"marks,omitempty"`
	Places []placesState  `json:"places,omitempty"`
	Routes *routesState   `json:"routes,omitempty"` // nil: no push to a user took a path

	Overlap *overlapState `json:"overlap,omitempty"` // nil: the next process has not joined before
}

// sentState is an outStream.
type sentState struct {
	Subject   string `json:"s"`
	Epoch     uint64 `json:"e"`
	Last      uint64 `json:"n"`
	Announced uint64 `json:"a"`
	At        int64  `json:"t"`
}

// peerState is a peer of the roster.
type peerState struct {
	ID            uint32 `json:"id"`
	Name          string `json:"name"`
	Instance      string `json:"instance"`
	Present       bool   `json:"present"`
	Left          bool   `json:"left"`
	Heard         int64  `json:"heard"`
	Reported      int64  `json:"reported"`
	ReportedSince int64  `json:"reported_since"`
	ReportedBy    string `json:"reported_by"`
}

// streamsState is peerStreams.
type streamsState struct {
	ID       uint32     `json:"id"`
	Instance string     `json:"instance"`
	Round    uint64     `json:"round"`
	RoundAt  int64      `json:"round_at"`
	MaxEpoch uint64     `json:"max_epoch"`
	PrevAt   int64      `json:"prev_at"`
	Heard    int64      `json:"heard"`
	Streams  []gotState `json:"streams"`
}

// gotState is an inStream.
type gotState struct {
	Subject string `json:"s"`
	Epoch   uint64 `json:"e"`
	Last    uint64 `json:"n"`
	Counted uint64 `json:"c"`
	Suspect uint64 `json:"i,omitempty"`
	At      int64  `json:"t"`
}

type recentState struct {
	Key []byte   `json:"key"`
	Cur []uint64 `json:"cur"`
	Old []uint64 `json:"old"`
}

// relayState is a relayIn.
type relayState struct {
	Node    uint32 `json:"node"`
	Epoch   uint64 `json:"epoch"`
	Last    uint64 `json:"last"`
	Refused bool   `json:"refused"`
	At      int64  `json:"at"`
}

type markState struct {
	Node   uint32   `json:"node"`
	Epoch  uint64   `json:"epoch"`
	Copied uint64   `json:"copied"`
	From   uint64   `json:"from,omitempty"`
	Heard  uint64   `json:"heard"`
	Early  []uint64 `json:"early,omitempty"`
	At     int64    `json:"at"`
}

// micros and instant turn a time into a number and back. 0 is no time.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func instant(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMicro(v)
}

// heritage returns the state of the bus, whose goroutines are paused. passed says that
// the connection is passed on.
func (b *NATS) heritage(passed bool) *Heritage {
	s := b.sender
	h := &Heritage{
		Version: heritageVersion, Node: b.id, Name: b.opt.NodeName, Instance: s.instance, Reachable: b.reachable.Load(), Started: micros(b.receiver.roster.started),
		Round: s.round, Idle: s.idle, SinceList: s.sinceList, Epoch: s.numbers.epoch,
	}
	for _, o := range s.numbers.streams {
		h.Sent = append(h.Sent, sentState{o.subject, o.epoch, o.last, o.announced, micros(o.at)})
	}
	h.Routes = s.bequeath()
	b.interest.bequeath(h, passed, b.opt.clock.now())
	b.receiver.bequeath(h)
	return h
}

// bequeath leaves topics out that were subscribed long ago, if the connection knows them.
func (i *interest) bequeath(h *Heritage, passed bool, now time.Time) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if t, ok := i.moment(i.begun.Load()); ok {
		h.Begun = micros(t)
	}
	h.Topics = make(map[string]int64)
	for name, t := range i.topics {
		if t.ready && (!passed || now.Sub(t.from) < streamForget) {
			h.Topics[name] = micros(t.from)
		}
	}
}

// since returns the instant since when the process before was subscribed to a topic that
// it had. Nobody remembers anything older than streamForget.
func (h *Heritage) since(topic string, now time.Time) time.Time {
	if v, ok := h.Topics[topic]; ok {
		return instant(v)
	}
	return now.Add(-streamForget)
}

// subjects returns the subjects of topics and users, and the fixed ones, to which the
// process before was subscribed.
func (h *Heritage) subjects() map[string]struct{} {
	had := make(map[string]struct{})
	if h.Line != nil {
		for _, s := range h.Line.Subs {
			had[s.Subject] = struct{}{}
		}
		return had
	}
	for name := range h.Topics {
		had[subjectTopic+name] = struct{}{}
	}
	if h.Begun != 0 {
		had[subjectAll] = struct{}{}
	}
	return had
}

func (r *receiver) bequeath(h *Heritage) {
	for id, p := range r.roster.nodes {
		h.Peers = append(h.Peers, peerState{id, p.name, p.instance, p.present, p.left,
			micros(p.heard), micros(p.reported), micros(p.reportedSince), p.reportedBy})
	}
	for id, p := range r.gaps.nodes {
		n := streamsState{ID: id, Instance: p.instance, Round: p.round, RoundAt: micros(p.roundAt),
			MaxEpoch: p.maxEpoch, PrevAt: micros(p.prevAt), Heard: micros(p.heard)}
		for subject, s := range p.streams {
			n.Streams = append(n.Streams, gotState{subject, s.epoch, s.last, s.counted, s.suspect, micros(s.at)})
		}
		h.Nodes = append(h.Nodes, n)
	}
	h.Recent.Key = append([]byte(nil), r.recent.key[:]...)
	for k := range r.recent.cur {
		h.Recent.Cur = append(h.Recent.Cur, k)
	}
	for k := range r.recent.old {
		h.Recent.Old = append(h.Recent.Old, k)
	}
	for node, s := range r.relays.streams {
		h.Relays = append(h.Relays, relayState{node, s.epoch, s.last, s.refused, micros(s.at)})
	}
	for node, streams := range r.marks.nodes {
		for epoch, m := range streams {
			s := markState{Node: node, Epoch: epoch, Copied: m.copied, From: m.from, Heard: m.heard, At: micros(m.at)}
			for n := range m.early {
				s.Early = append(s.Early, n)
			}
			h.Marks = append(h.Marks, s)
		}
	}
	r.order.bequeath(h)
}

// adopt takes the state of the process before. The goroutines of the bus do not run yet.
func (b *NATS) adopt(h *Heritage, now time.Time) {
	s := b.sender
	s.instance, s.round, s.idle, s.sinceList = h.Instance, h.Round, h.Idle, h.SinceList
	s.numbers.epoch = max(s.numbers.epoch, h.Epoch)
	for _, o := range h.Sent {
		st := &outStream{subject: o.Subject, epoch: o.Epoch, last: o.Last, announced: o.Announced, at: instant(o.At)}
		if st.listed = st.last > st.announced; st.listed {
			s.numbers.fresh = append(s.numbers.fresh, st)
		}
		s.numbers.streams[o.Subject] = st
	}
	s.adopt(h.Routes)
	r := b.receiver
	r.instance, r.roster.started = h.Instance, instant(h.Started)
	for _, p := range h.Peers {
		r.roster.nodes[p.ID] = &peer{p.Name, p.Instance, p.Present, p.Left, instant(p.Heard),
			instant(p.Reported), instant(p.ReportedSince), p.ReportedBy}
	}
	r.roster.publish(now)
	r.adopt(h)
}

func (r *receiver) adopt(h *Heritage) {
	for _, n := range h.Nodes {
		p := &peerStreams{instance: n.Instance, round: n.Round, roundAt: instant(n.RoundAt), maxEpoch: n.MaxEpoch,
			prevAt: instant(n.PrevAt), heard: instant(n.Heard), streams: make(map[string]inStream, len(n.Streams))}
		for _, s := range n.Streams {
			p.streams[s.Subject] = inStream{s.Epoch, s.Last, s.Counted, s.Suspect, instant(s.At)}
		}
		r.gaps.nodes[n.ID] = p
	}
	if len(h.Recent.Key) == len(r.recent.key) {
		copy(r.recent.key[:], h.Recent.Key)
		r.recent.cur, r.recent.old = set(h.Recent.Cur), set(h.Recent.Old)
	}
	for _, s := range h.Relays {
		r.relays.streams[s.Node] = &relayIn{epoch: s.Epoch, last: s.Last, refused: s.Refused, at: instant(s.At)}
	}
	for _, s := range h.Marks {
		m := r.marks.of(origin{node: s.Node, epoch: s.Epoch}, instant(s.At))
		if m != nil {
			m.copied, m.from, m.heard, m.early = s.Copied, s.From, s.Heard, set(s.Early)
		}
	}
	r.order.adopt(h)
}

func set(keys []uint64) map[uint64]struct{} {
	m := make(map[uint64]struct{}, len(keys))
	for _, k := range keys {
		m[k] = struct{}{}
	}
	return m
}
