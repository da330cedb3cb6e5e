package presence

import (
	"context"
	"encoding/json"
	"time"

	"belfry/broadcast"
	"belfry/message"
)

// MaxPage is the largest number of items on a page, and MaxUsers that of users in one
// question.
const (
	MaxPage  = 1000
	MaxUsers = 1000
)

// Session is an open session.
type Session struct {
	SID           string          `json:"session"`
	UID           string          `json:"user,omitempty"` // "" for a session without a user
	Node          string          `json:"node"`           // name of its node
	Since         time.Time       `json:"since"`          // when it was opened, in whole seconds
	LastActivity  time.Time       `json:"last_activity"`  // when its client last gave a sign of life, to a second
	Address       string          `json:"address,omitempty"`
	Agent         string          `json:"agent,omitempty"`        // User-Agent of its request, if the node keeps it
	DeviceClass   string          `json:"device_class,omitempty"` // what its token or the webhook named
	Transport     string          `json:"transport"`
	Encoding      string          `json:"encoding"`
	Topics        []string        `json:"topics"`        // the newest 256
	Subscriptions int             `json:"subscriptions"` // all of them
	Backlog       Backlog         `json:"backlog"`
	Meta          json.RawMessage `json:"meta,omitempty"`
}

// Backlog is what waits to be sent to a session.
type Backlog struct {
	Messages int `json:"messages"` // frames, pings included
	Bytes    int `json:"bytes"`    // with framing
}

// Member is a session that is subscribed to a topic.
type Member struct {
	SID string `json:"session"`
	UID string `json:"user,omitempty"`
}

// TopicCount is a topic and how many sessions are subscribed to it.
type TopicCount struct {
	Topic string `json:"topic"`
	Count int    `json:"count"`
}

// UserCount says how many sessions of a user are open. LastSeen is when the last one
// ended, if there is none and it is known; else zero.
type UserCount struct {
	Sessions int
	LastSeen time.Time
}

// NodeState is what a node says about itself.
type NodeState struct {
	Version     string   `json:"version"`
	Uptime      float64  `json:"uptime"` // seconds
	Ready       bool     `json:"ready"`
	Reasons     []string `json:"reasons,omitempty"`  // why it is not ready
	Degraded    []string `json:"degraded,omitempty"` // what does not work although it is ready
	Sessions    int64    `json:"sessions"`
	MaxSessions int      `json:"max_sessions"`
	Users       int64    `json:"users"`
	Topics      int64    `json:"topics"`
	Load        float64  `json:"load"` // part of a tenth of a second in which its busiest shard worked, 0 to 1
}

// Local reads what this node has. Any goroutine may call its methods, which wait until
// ctx is done. after is a place in the list that is read: only what is behind it is
// wanted. more says that there may be more behind the items that are returned.
type Local interface {
	// Session returns nil if there is no open session with this id.
	Session(ctx context.Context, sid string) (*Session, error)
	// UserSessions returns sessions of a user, and how many there are in all.
	UserSessions(ctx context.Context, uid string, after message.SID, limit int) (list []Session, count int, more bool, err error)
	// Users returns a UserCount for each user, in their order.
	Users(ctx context.Context, uids []string) ([]UserCount, error)
	// Subscribers returns how many sessions are subscribed to a topic, and Members
	// returns some of them.
	Subscribers(ctx context.Context, topic string) (count int, err error)
	Members(ctx context.Context, topic string, after message.SID, limit int) (list []Member, more bool, err error)
	Topics(ctx context.Context, prefix, after string, limit int) (list []TopicCount, more bool, err error)
	State(ctx context.Context) NodeState
}

// Holders says which nodes hold the sessions of users.
type Holders interface {
	// Holders returns a Held for each user, in their order. It may ask other nodes
	// until ctx is done, and should leave time for what is asked afterwards.
	Holders(ctx context.Context, uids []string) []Held
}

// Held says who holds the sessions of a user.
type Held struct {
	Nodes    []broadcast.Peer // other nodes that have sessions
	Sessions int              // that they have in all
	Here     bool             // this node has sessions, too
	Unknown  bool             // nothing is known: every node may have some
}

// nobody says that no session is known. A session that has just opened may not be
// known yet, and any node may remember when the user was last seen.
func (h *Held) nobody() bool { return h.Unknown || len(h.Nodes) == 0 && !h.Here }

// Sighting is what is known of a node without asking it.
type Sighting struct {
	broadcast.Peer
	State    string // one of the states of a Node
	Self     bool
	Detail   string    // why it is gone
	Heard    time.Time // when its last beacon came
	Version  string    // of its program, as the beacon says; "" if unknown
	Sessions uint64    // when it sent the beacon
}

// Reach says which nodes an answer is of.
type Reach struct {
	Nodes    int      `json:"nodes"`              // that answered, this one included
	Silent   []Silent `json:"silent,omitempty"`   // that were asked and did not answer: what they hold is missing
	Degraded []string `json:"degraded,omitempty"` // why there may be nodes that this one does not know of
}

// Silent is a node that did not answer.
type Silent struct {
	Node   string `json:"node"`
	Detail string `json:"detail"`
}

// User is a user with a page of the sessions.
type User struct {
	UID      string    `json:"user"`
	Count    int       `json:"count"`    // of all sessions
	Sessions []Session `json:"sessions"` // by id
	Next     string    `json:"next,omitempty"`
	LastSeen time.Time `json:"last_seen,omitzero"` // if Count is 0
	Reach
}

// UserPresence is one user among many.
type UserPresence struct {
	UID      string    `json:"user"`
	Sessions int       `json:"sessions"`
	LastSeen time.Time `json:"last_seen,omitzero"` // if there are no sessions
}

// Users is the presence of many users, in the order in which they were asked for.
type Users struct {
	Users []UserPresence `json:"users"`
	Reach
}

// Topic is a topic, with a page of its members if they were asked for.
type Topic struct {
	Topic   string   `json:"topic"`
	Count   int      `json:"count"` // of all subscribers
	Members []Member `json:"members,omitempty"`
	Next    string   `json:"next,omitempty"`
	Reach
}

// Topics is a page of topics.
type Topics struct {
	Topics []TopicCount `json:"topics"`
	Next   string       `json:"next,omitempty"`
	Reach
}

// Node is one node of the cluster.
type Node struct {
	Name   string `json:"node"`
	ID     string `json:"id"` // 8 hexadecimal digits
	State  string `json:"state"`
	Self   bool   `json:"self,omitempty"`
	Detail string `json:"detail,omitempty"` // why it did not answer, or is gone
	// LastBeacon is what its last beacon said; nil for this node.
	LastBeacon *Beacon `json:"last_beacon,omitempty"`
	// NodeState is its answer; nil if there is none.
	*NodeState
	// Skew is how much its clock is ahead of this node's, in seconds, and SkewError by
	// how much that may be wrong: half of the time that question and answer took.
	Skew      *float64 `json:"clock_skew,omitempty"`
	SkewError *float64 `json:"clock_skew_error,omitempty"`
}

// Beacon is what the last beacon of a node said.
type Beacon struct {
	Age      float64 `json:"age"` // seconds since it came
	Sessions uint64  `json:"sessions"`
	Version  string  `json:"version,omitempty"`
}

// States of a Node. cluster.State describes them.
const (
	StateAlive     = "alive"
	StateSuspected = "suspected"
	StateLeaving   = "leaving"
	StateGone      = "gone"
)

// Nodes is every node that is known, this one included, by name.
type Nodes struct {
	Nodes    []Node   `json:"nodes"`
	Lease    float64  `json:"lease"` // seconds that a node may be silent before it is gone
	Degraded []string `json:"degraded,omitempty"`
}
