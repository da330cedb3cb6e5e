package broadcast

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
)

// A connection with TLS cannot be passed on. So the successor opens one of its own while
// the process before still receives (Join), and keeps what comes. The process before
// remembers what it receives (Expect), and hands over a digest of each message. What the
// successor has kept and the process before did not receive is then delivered.
//
// A marker, which both receive, divides both: everything that came to the successor
// before it, came to the process before too. It is no exact cut for messages of other
// publishers, because a server may be between two receivers of one of them; so the
// messages themselves are compared. Messages of nodes are compared by their numbers (see
// gaps.go), the others by subject, headers and payload.

// headerProbe of a marker is markerBegin and the token of Expect.
const markerBegin = "overlap "

// Limits of an overlap.
const (
	maxRecord = 1 << 18     // messages that the process before remembers
	lateWait  = time.Second // after Take, in which what the process before received may still come
)

// Overlaps reports whether the node's connection to NATS cannot be passed on, so that a
// successor misses messages unless it joins before HandOver (see Expect and Join).
func (n *Node) Overlaps() bool {
	b := n.nats
	if b == nil || b.server != nil || !b.connected.Load() {
		return false
	}
	c := b.passing.dialer.Current()
	return c != nil && c.Opaque()
}

// Expect makes the node remember what it receives, for a successor that calls Join with
// the token and has the sessions already. HandOver then waits until the successor's
// marker has come, and fails if the node has received more than 262,144 messages without
// numbers since Expect. Resume, also without HandOver, and a HandOver that fails end it: a
// successor that has joined must be closed then.
func (n *Node) Expect() (token string, err error) {
	if n.nats == nil || !n.Overlaps() {
		return "", errors.New("bus: the connection to NATS can be passed on, or there is none: nothing to expect")
	}
	token = rand.Text()
	n.nats.passing.record.Store(newRecord(token))
	return token, nil
}

// record is what the process before remembers, of messages and of commands.
type record struct {
	token  string
	halves [2]recordHalf
}

// recordHalf is owned by the goroutine that receives: the receiver, or the one that takes
// control messages.
type recordHalf struct {
	marked        bool
	seen          chan struct{} // closed when the marker has come
	before, since []uint64      // digests of what came before and behind the marker
}

func newRecord(token string) *record {
	r := &record{token: token}
	for i := range r.halves {
		r.halves[i].seen = make(chan struct{})
	}
	return r
}

// came remembers a message. It is called with every one that is received.
func (b *NATS) came(half int, m *nats.Msg) {
	r := b.passing.record.Load()
	if r == nil {
		return
	}
	h := &r.halves[half]
	switch {
	case isMarker(m, r.token):
		if !h.marked {
			h.marked = true
			close(h.seen)
		}
	case m.Header[headerSeq] != nil, m.Header[headerProbe] != nil, len(h.before)+len(h.since) > maxRecord:
	case h.marked:
		h.since = append(h.since, digest(r.token, m))
	default:
		h.before = append(h.before, digest(r.token, m))
	}
}

func isMarker(m *nats.Msg, token string) bool {
	v := m.Header[headerProbe]
	return len(v) == 1 && strings.HasPrefix(v[0], markerBegin) && v[0][len(markerBegin):] == token
}

// digest returns a hash of everything that receivers of a message see. The token is its
// key, so that nobody can choose messages that collide.
func digest(token string, m *nats.Msg) uint64 {
	names := make([]string, 0, len(m.Header))
	for name := range m.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	h := sha256.New()
	fmt.Fprintf(h, "%q%q%q", token, m.Subject, m.Reply)
	for _, name := range names {
		fmt.Fprintf(h, "%q%q", name, m.Header[name])
	}
	h.Write([]byte{0})
	h.Write(m.Data)
	return binary.BigEndian.Uint64(h.Sum(nil))
}

// overlapState is a record.
type overlapState struct {
	Token  string            `json:"token"`
	Before [2]map[uint64]int `json:"before"` // digests and how often, of messages and of commands
	Since  [2]map[uint64]int `json:"since"`
}

// awaitMarker waits until the marker of the successor has come.
func (b *NATS) awaitMarker(ctx context.Context) error {
	r := b.passing.record.Load()
	if r == nil {
		return nil
	}
	for i := range r.halves {
		select {
		case <-r.halves[i].seen:
		case <-ctx.Done():
			return fmt.Errorf("the successor's marker has not come over NATS: %w", ctx.Err())
		}
	}
	return nil
}

// overlapped returns what the successor needs, nil if none has joined. The goroutines
// that receive are paused.
func (b *NATS) overlapped() (*overlapState, error) {
	r := b.passing.record.Load()
	if r == nil {
		return nil, nil
	}
	s := &overlapState{Token: r.token}
	for i, h := range r.halves {
		if len(h.before)+len(h.since) > maxRecord {
			return nil, fmt.Errorf("more than %d messages came since the successor was expected: let it join shortly before the hand-over", maxRecord)
		}
		s.Before[i], s.Since[i] = counted(h.before), counted(h.since)
	}
	return s, nil
}

func counted(digests []uint64) map[uint64]int {
	m := make(map[uint64]int, len(digests))
	for _, d := range digests {
		m[d]++
	}
	return m
}
