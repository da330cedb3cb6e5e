package broadcast

import (
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"belfry/message"
)

// Defaults of Options.
const (
	DefaultClusterName    = "belfry"
	DefaultMaxPayload     = 64 << 10
	DefaultOutboxMessages = 16384
	DefaultOutboxBytes    = 64 << 20
	DefaultPendingBytes   = 256 << 20
	DefaultLinger         = 5 * time.Second
	DefaultBeacon         = time.Second
	DefaultOverloadWait   = 200 * time.Millisecond
	DefaultReconnectPause = 2 * time.Second
	DefaultWildcardAbove  = 256
	DefaultMaxLingering   = 4096
)

// Options configure a Node. The zero value is a node of its own with a NATS
// server inside the process that opens no port.
type Options struct {
	// NodeName names this node in the cluster: 1 to 64 bytes of printable
	// ASCII without spaces, different on every node. The node id, which
	// session ids carry, is computed from it. Default: the host's name and a
	// random suffix.
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

	// MaxPayload bounds the payload of a message in bytes, 1 to 8 MiB.
	MaxPayload int
	// OutboxMessages and OutboxBytes bound what waits to be sent. A message
	// takes one place for each subject it goes to; bytes include envelopes.
	OutboxMessages int
	OutboxBytes    int
	// PendingBytes bounds what was received and not yet dispatched. It is
	// enforced as a number of messages, PendingBytes/MaxPayload (at least
	// 64), because nats.go counts only messages on a channel.
	PendingBytes int

	// Linger is how long a topic or user bucket nobody wants any more stays
	// subscribed.
	Linger time.Duration
	// MaxLingering bounds the topics that linger; past it the oldest are left
	// at once and counted in LeftEarly.
	MaxLingering int
	// Beacon is how often the last sequence numbers are announced.
	Beacon time.Duration
	// OverloadWait is how long a received message waits for a place in the
	// local mailboxes before it is lost.
	OverloadWait time.Duration
	// ReconnectPause is how long the outbox is held back after the connection
	// to NATS came back, so that the other nodes, which lost it at the same
	// time, are there to receive. Longer than nodes' reconnects are apart.
	ReconnectPause time.Duration
	// WildcardAbove is the number of user buckets wanted above which the
	// node subscribes to all of them at once; it returns to single ones
	// below WildcardBelow, by default half of it.
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

// fill sets defaults and checks. Its error names the field at fault.
func (o *Options) fill() error {
	if o.NodeName == "" {
		name, err := defaultName()
		if err != nil {
			return err
		}
		o.NodeName = name
	}
	if o.Embedded.ClusterName == "" {
		o.Embedded.ClusterName = DefaultClusterName
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
	if err := o.fillSizes(); err != nil {
		return err
	}
	if err := o.fillTimes(); err != nil {
		return err
	}
	return o.checkAddresses()
}

func (o *Options) fillSizes() error {
	for _, d := range []struct {
		name          string
		v             *int
		def, min, max int
	}{
		{"MaxPayload", &o.MaxPayload, DefaultMaxPayload, 1, 8 << 20},
		{"OutboxMessages", &o.OutboxMessages, DefaultOutboxMessages, 1, 1 << 24},
		{"OutboxBytes", &o.OutboxBytes, DefaultOutboxBytes, 1 << 10, 1 << 40},
		{"PendingBytes", &o.PendingBytes, DefaultPendingBytes, 1 << 10, 1 << 40},
		{"MaxLingering", &o.MaxLingering, DefaultMaxLingering, 1, 1 << 20},
		{"WildcardAbove", &o.WildcardAbove, DefaultWildcardAbove, 1, buckets},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < d.min || *d.v > d.max {
			return bad(d.name, fmt.Sprintf("%d; allowed are %d to %d", *d.v, d.min, d.max))
		}
	}
	if o.WildcardBelow == 0 {
		o.WildcardBelow = (o.WildcardAbove + 1) / 2
	}
	if o.WildcardBelow < 1 || o.WildcardBelow > o.WildcardAbove {
		return bad("WildcardBelow", fmt.Sprintf("%d; allowed are 1 to WildcardAbove, %d", o.WildcardBelow, o.WildcardAbove))
	}
	return nil
}

func (o *Options) fillTimes() error {
	for _, d := range []struct {
		name string
		v    *time.Duration
		def  time.Duration
	}{
		{"Linger", &o.Linger, DefaultLinger},
		{"Beacon", &o.Beacon, DefaultBeacon},
		{"OverloadWait", &o.OverloadWait, DefaultOverloadWait},
		{"ReconnectPause", &o.ReconnectPause, DefaultReconnectPause},
	} {
		if *d.v == 0 {
			*d.v = d.def
		}
		if *d.v < time.Millisecond || *d.v > time.Hour {
			return bad(d.name, fmt.Sprintf("%v; allowed are 1ms to 1h", *d.v))
		}
	}
	return nil
}

func (o *Options) checkAddresses() error {
	e := &o.Embedded
	switch n := len(o.NodeName); {
	case n > 64 || !printable(o.NodeName):
		return bad("NodeName", "allowed are 1 to 64 printable ASCII characters without spaces")
	case (o.TLS.Cert == "") != (o.TLS.Key == ""):
		return bad("TLS", "Cert and Key go together")
	case len(o.URLs) > 0 && (e.Listen != "" || e.ClusterListen != "" || len(e.Routes) > 0):
		return bad("URLs", "an external NATS cluster excludes addresses and routes of an embedded one")
	case e.ClusterAdvertise != "" && e.ClusterListen == "":
		return bad("Embedded.ClusterAdvertise", "is how others reach ClusterListen; set that too")
	case len(e.Routes) > 0 && e.ClusterListen == "":
		return bad("Embedded.Routes", "routes need ClusterListen, through which the others come back")
	}
	return nil
}

// defaultName returns a name that two nodes on one host do not share.
func defaultName() (string, error) {
	host, err := os.Hostname()
	if err != nil || host == "" || len(host) > 50 || !printable(host) {
		host = "node"
	}
	var b [4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return "", fmt.Errorf("random node name: %w", err)
	}
	return host + "-" + hex.EncodeToString(b[:]), nil
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
