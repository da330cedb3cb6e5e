package session

import (
	"bytes"
	"net/netip"
	"time"
)

// Info is what is told about an open session. It is a copy.
type Info struct {
	ID                  string
	UID                 string         // "" if the session has no user
	Opened              time.Time      // in whole seconds
	Active              time.Time      // when its client last gave a sign of life, to a second
	Remote              netip.AddrPort // of the client, as far as it is known
	Agent               string         // as Client.Agent
	Transport, Encoding string         // names
	Topics              []string       // the newest MaxInfoTopics of its subscriptions, the newest first
	Subscriptions       int
	BacklogFrames       int    // frames that wait to be sent
	BacklogBytes        int    // bytes that wait to be sent, with framing
	Meta                []byte // Grant.Meta; nil: none
	DeviceClass         string // Grant.DeviceClass; "": none
}

// MaxInfoTopics is how many topics of a session an Info has at most.
const MaxInfoTopics = 256

// isOpen says whether the session in a slot is open. An upgrade that waits for the bus is
// in the tables already, and is not.
func (r records) isOpen(slot uint32) bool {
	rec := r.rec(slot)
	return rec.state == stateOpen && rec.flags&flagSession != 0
}

// info describes the session in a slot. It allocates.
func (h *shard) info(slot uint32) Info {
	rec := h.rec(slot)
	v := h.variantOf(rec)
	i := Info{
		ID:            h.session(slot),
		UID:           string(h.users.uid(rec)),
		Opened:        time.Unix(int64(rec.openedAt), 0),
		Active:        h.opt.now().Add(-seconds(h.ps.Now() - h.heartbeats.lastSign(slot, rec, v))).Truncate(time.Second),
		Remote:        h.remotes.of(slot),
		Transport:     v.Transport.Name(),
		Encoding:      v.Encoding.Name(),
		Subscriptions: int(rec.count),
		Meta:          bytes.Clone(h.grants.meta(rec)),
		DeviceClass:   h.grants.className(rec),
	}
	i.BacklogFrames, i.BacklogBytes = h.ps.Backlog(slot)
	if r := h.eventing.of(slot, rec); r != nil {
		i.Agent = h.eventing.agents.name(r.agent)
	}
	for n := rec.topics; n != 0 && len(i.Topics) < MaxInfoTopics; {
		m := h.topics.links.At(n - 1)
		i.Topics = append(i.Topics, string(h.topics.name(m.topic)))
		n = m.next
	}
	return i
}
