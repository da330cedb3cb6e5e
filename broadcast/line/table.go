package line

import (
	"bytes"
	"strconv"
)

// table knows the subscriptions of a connection by their numbers (sids). The server's
// number of a subscription is nats.go's own in the process that opened the connection.
// In those that inherit it nats.go begins to count from 1 again, so they have two
// numbers: the server's is then "<generation>-<nats.go's>", or the one that was
// inherited.
type table struct {
	generation int                  // 0 in the process that opened the connection
	subs       map[string]Sub       // by nats.go's number
	local      map[string]string    // nats.go's number, by the server's; nil with generation 0
	inherited  map[subject][]string // the server's numbers of subscriptions that nats.go has not made yet
}

// Sub is a subscription of a connection.
type Sub struct {
	Subject string `json:"subject"`
	Queue   string `json:"queue,omitempty"`
	SID     string `json:"sid"` // the server's number
}

type subject struct{ subject, queue string }

func newTable(generation int) table {
	t := table{generation: generation, subs: make(map[string]Sub)}
	if generation > 0 {
		t.local, t.inherited = make(map[string]string), make(map[subject][]string)
	}
	return t
}

// subscribed takes a SUB line of nats.go. It returns the server's number, and whether
// the server has the subscription already.
func (t *table) subscribed(line []byte) (s Sub, known bool) {
	f := bytes.Fields(line) // SUB subject [queue] sid
	if len(f) < 3 {
		return s, false
	}
	sid := string(f[len(f)-1])
	s = Sub{Subject: string(f[1]), SID: sid}
	if len(f) > 3 {
		s.Queue = string(f[2])
	}
	if t.generation > 0 {
		s.SID = strconv.Itoa(t.generation) + "-" + sid
		key := subject{s.Subject, s.Queue}
		if had := t.inherited[key]; len(had) > 0 {
			s.SID, known = had[0], true
			if t.inherited[key] = had[1:]; len(had) == 1 {
				delete(t.inherited, key)
			}
		}
		t.local[s.SID] = sid
	}
	t.subs[sid] = s
	return s, known
}

// unsubscribed takes an UNSUB line of nats.go, and returns the server's number. With a
// number of messages after which the subscription ends it is kept in the table.
func (t *table) unsubscribed(line []byte) (sid, most string) {
	f := bytes.Fields(line) // UNSUB sid [most]
	if len(f) < 2 {
		return "", ""
	}
	own := string(f[1])
	s, ok := t.subs[own]
	if !ok {
		return "", ""
	}
	if len(f) > 2 {
		return s.SID, string(f[2])
	}
	delete(t.subs, own)
	delete(t.local, s.SID)
	return s.SID, ""
}

// all returns the subscriptions that the server has.
func (t *table) all() []Sub {
	subs := make([]Sub, 0, len(t.subs))
	for _, s := range t.subs {
		subs = append(subs, s)
	}
	for k, sids := range t.inherited {
		for _, sid := range sids {
			subs = append(subs, Sub{k.subject, k.queue, sid})
		}
	}
	return subs
}
