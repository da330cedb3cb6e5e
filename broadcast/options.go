package broadcast

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"go.uber.org/zap"

	"belfry/message"
)

// Options configure a Node. The zero value is a node of its own with a NATS
// server inside the process that opens no port.
type Options struct {
	// NodeName names this node in the cluster: 1 to 64 bytes of printable
	// ASCII without spaces, different on every node. The node id, which
	// session ids carry, is computed from it. Default: one drawn at random.
	NodeName string

	// URLs of an external NATS cluster ("nats://host:4222", "tls://…"). If
	// there are none, a server is embedded as Embedded says.
	URLs     []string
	Embedded Embedded

	// TLS, Credentials, User, Password, Token: how to reach the external
	// cluster. With an embedded server Cert and Key secure its Listen and
	// ClusterListen addresses (CA then demands certificates of the other
	// side), and User and Password, or Token, are what its clients must show.
	TLS         TLS
	Credentials string // path of a .creds file
	User        string
	Password    string
	Token       string
	ClientName  string // shown by NATS monitoring; default "belfry <NodeName>"

	MaxPayload     int // bytes of a message's payload, at most 8 MiB; 0: 64 KiB
	OutboxMessages int // that wait to be sent, one for each subject that a message goes to; 0: 16384
	OutboxBytes    int // that wait to be sent, envelopes included; 0: 64 MiB
	// PendingBytes bounds what was received and not yet dispatched; 0: 256 MiB.
	// It is enforced as a number of messages, PendingBytes/MaxPayload (at least
	// 64), because nats.go counts only messages on a channel.
	PendingBytes int

	Linger       time.Duration // of the subscription to a topic or user bucket that nobody wants any more; 0: 5 s
	MaxLingering int           // topics that linger; 0: 4096; beyond: the oldest are left at once and counted in LeftEarly
	Beacon       time.Duration // between announcements of the last sequence numbers; 0: 1 s
	OverloadWait time.Duration // of a received message for a place in the local mailboxes; 0: 200 ms; beyond: lost
	// ReconnectPause is how long the outbox is held back after the connection
	// to NATS came back, so that the other nodes, which lost it at the same
	// time, are there to receive; 0: 2 s. Longer than nodes' reconnects are
	// apart.
	ReconnectPause time.Duration
	// WildcardAbove is the number of user buckets wanted above which the node
	// subscribes to all of them at once; 0: 256. It returns to single ones
	// below WildcardBelow; 0: half of WildcardAbove.
	WildcardAbove int
	WildcardBelow int

	// Required makes a node that has lost NATS not ready. By default one that
	// was ready stays so, and is degraded.
	Required bool

	// NodeOf returns the id of the node that made a session id. Default:
	// message.NodeOf.
	NodeOf func(sid string) (uint32, error)
	// Log gets one line an event. Default: none.
	Log *zap.Logger
	// Bus replaces NATS. Default: nil, NATS as set above.
	Bus Bus

	clock   clock         // virtual in tests
	overlap time.Duration // see wildcard.go; shorter in tests
}

// Embedded configures the server inside the process. Without addresses it
// opens no port.
type Embedded struct {
	Listen        string // host:port for NATS clients, "" for none
	ClusterListen string // host:port for routes of other nodes, "" for none
	// ClusterAdvertise is the host:port at which other nodes reach
	// ClusterListen. Default: ClusterListen, unless that is every address of
	// the host; then the one that they see.
	ClusterAdvertise string
	ClusterName      string   // the same on all nodes of a cluster
	Routes           []string // "nats://[user:password@]host:port" of other nodes' ClusterListen
	ClusterUser      string   // what other nodes' routes must show; "" for nothing
	ClusterPass      string
}

// TLS names PEM files; "" is none.
type TLS struct {
	CA   string // certificates trusted instead of the system's
	Cert string
	Key  string
}

// fill gives options that are 0 their default and refuses what is out of range.
// Its error names the option at fault.
func (o *Options) fill() error {
	if o.NodeName == "" {
		o.NodeName = defaultName()
	}
	if o.Embedded.ClusterName == "" {
		o.Embedded.ClusterName = "belfry"
	}
	if o.ClientName == "" {
		o.ClientName = "belfry " + o.NodeName
	}
	if o.NodeOf == nil {
		o.NodeOf = message.NodeOf
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.clock.now == nil {
		o.clock = wallClock()
	}
	if o.overlap == 0 {
		o.overlap = switchOverlap
	}
	if err := o.fillNumbers(); err != nil {
		return err
	}
	return o.checkAddresses()
}

func (o *Options) fillNumbers() error {
	err := errors.Join(
		fill("MaxPayload", &o.MaxPayload, 64<<10, 1, 8<<20),
		fill("OutboxMessages", &o.OutboxMessages, 16384, 1, 1<<24),
		fill("OutboxBytes", &o.OutboxBytes, 64<<20, 1<<10, 1<<40),
		fill("PendingBytes", &o.PendingBytes, 256<<20, 1<<10, 1<<40),
		fill("MaxLingering", &o.MaxLingering, 4096, 1, 1<<20),
		fill("WildcardAbove", &o.WildcardAbove, 256, 1, buckets),

		fill("Linger", &o.Linger, 5*time.Second, time.Millisecond, time.Hour),
		fill("Beacon", &o.Beacon, time.Second, time.Millisecond, time.Hour),
		fill("OverloadWait", &o.OverloadWait, 200*time.Millisecond, time.Millisecond, time.Hour),
		fill("ReconnectPause", &o.ReconnectPause, 2*time.Second, time.Millisecond, time.Hour),
	)
	return errors.Join(err, fill("WildcardBelow", &o.WildcardBelow, (o.WildcardAbove+1)/2, 1, o.WildcardAbove))
}

// badOption says what is wrong with an option and what is allowed.
func badOption(name, problem string) error { return fmt.Errorf("broadcast: %s: %s", name, problem) }

// fill gives an option that is 0 its default and refuses what is out of range.
func fill[T int | time.Duration](name string, v *T, def, least, most T) error {
	if *v == 0 {
		*v = def
	}
	if *v < least || *v > most {
		return fmt.Errorf("broadcast: %s is %v; allowed are %v to %v", name, *v, least, most)
	}
	return nil
}

func (o *Options) checkAddresses() error {
	e := &o.Embedded
	switch n := len(o.NodeName); {
	case n > 64 || !printable(o.NodeName):
		return badOption("NodeName", "allowed are 1 to 64 printable ASCII characters without spaces")
	case (o.TLS.Cert == "") != (o.TLS.Key == ""):
		return badOption("TLS", "Cert and Key go together")
	case len(o.URLs) > 0 && (e.Listen != "" || e.ClusterListen != "" || len(e.Routes) > 0):
		return badOption("URLs", "an external NATS cluster excludes addresses and routes of an embedded one")
	case e.ClusterAdvertise != "" && e.ClusterListen == "":
		return badOption("Embedded.ClusterAdvertise", "is how others reach ClusterListen; set that too")
	case len(e.Routes) > 0 && e.ClusterListen == "":
		return badOption("Embedded.Routes", "routes need ClusterListen, through which the others come back")
	}
	return nil
}

// defaultName returns a name that no other node has.
func defaultName() string {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return "node-" + hex.EncodeToString(b[:])
}

// printable says whether s is ASCII without spaces and control characters.
func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
