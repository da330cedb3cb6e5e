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

// Options configure a Node. The zero value makes a node without other nodes: its
// embedded NATS server opens no port.
type Options struct {
	// NodeName names this node in the cluster: 1 to 64 bytes of printable
	// ASCII without spaces, different on every node. The node id, which
	// session ids contain, is computed from it. Default: a random name.
	NodeName string

	// URLs of an external NATS cluster ("nats://host:4222", "tls://…").
	// Without URLs the node embeds a server as set in Embedded.
	URLs     []string
	Embedded Embedded

	// TLS, Credentials, User, Password and Token are for the connection to the
	// external cluster. With an embedded server, Cert and Key are the
	// certificate of its Listen and ClusterListen addresses (with CA, the
	// other side needs a certificate too), and its clients must present User
	// and Password, or Token.
	TLS         TLS
	Credentials string // path of a .creds file
	User        string
	Password    string
	Token       string
	ClientName  string // shown by NATS monitoring; default "belfry <NodeName>"

	MaxPayload     int // bytes of a message's payload, at most 8 MiB; 0: 64 KiB
	OutboxMessages int // messages that wait to be sent, one for each subject of a message; 0: 16384
	OutboxBytes    int // bytes that wait to be sent, with envelopes; 0: 64 MiB
	// PendingBytes bounds the bytes that were received and not yet dispatched;
	// 0: 256 MiB. The node enforces it as a number of messages,
	// PendingBytes/MaxPayload (at least 64), because nats.go counts only
	// messages on a channel.
	PendingBytes int

	Linger       time.Duration // how long a subscription to a topic is kept after its last subscriber left; 0: 5 s
	MaxLingering int           // topics kept that way; 0: 4096; beyond it the oldest are unsubscribed at once and counted in LeftEarly
	Beacon       time.Duration // interval of beacons; 0: 1 s
	OverloadWait time.Duration // how long a received message waits for room in the local mailboxes before it is lost; 0: 200 ms
	// ReconnectPause is how long the outbox waits after a reconnect to NATS, so
	// that the other nodes, which lost the connection at the same time, are
	// connected again and receive its messages; 0: 2 s. It should be longer
	// than the time between the reconnects of the first and the last node.
	ReconnectPause time.Duration
	// Required makes a node without a connection to NATS not ready. By default
	// a node that was ready stays ready and is degraded.
	Required bool

	// Held makes a node that waits for Node.Take: it only records what its sessions
	// want, and refuses messages.
	Held bool

	// NodeOf returns the id of the node that made a session id. Default:
	// message.NodeOf.
	NodeOf func(sid string) (uint32, error)
	// Log gets one line for each event. Default: nothing is logged.
	Log *zap.Logger
	// Bus is used instead of NATS if it is not nil.
	Bus Bus

	clock clock // virtual in tests
}

// Embedded configures the NATS server inside the process. Without addresses the
// server opens no port.
type Embedded struct {
	Listen        string // host:port for NATS clients, "" for none
	ClusterListen string // host:port for routes of other nodes, "" for none
	// ClusterAdvertise is the host:port at which other nodes reach
	// ClusterListen. Default: ClusterListen. If ClusterListen is the wildcard
	// address, the other nodes use the address from which this node connects.
	ClusterAdvertise string
	ClusterName      string   // the same on all nodes of a cluster
	Routes           []string // "nats://[user:password@]host:port" of other nodes' ClusterListen
	ClusterUser      string   // user name that routes of other nodes must present; "" for none
	ClusterPass      string
}

// TLS has paths of PEM files; "" for none.
type TLS struct {
	CA   string // certificates to trust instead of those of the system
	Cert string
	Key  string
}

// fill sets options that are 0 to their defaults. It returns an error that names
// each option out of range.
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
	if err := o.fillNumbers(); err != nil {
		return err
	}
	return o.checkAddresses()
}

func (o *Options) fillNumbers() error {
	return errors.Join(
		fill("MaxPayload", &o.MaxPayload, 64<<10, 1, 8<<20),
		fill("OutboxMessages", &o.OutboxMessages, 16384, 1, 1<<24),
		fill("OutboxBytes", &o.OutboxBytes, 64<<20, 1<<10, 1<<40),
		fill("PendingBytes", &o.PendingBytes, 256<<20, 1<<10, 1<<40),
		fill("MaxLingering", &o.MaxLingering, 4096, 1, 1<<20),

		fill("Linger", &o.Linger, 5*time.Second, time.Millisecond, time.Hour),
		fill("Beacon", &o.Beacon, time.Second, time.Millisecond, time.Hour),
		fill("OverloadWait", &o.OverloadWait, 200*time.Millisecond, time.Millisecond, time.Hour),
		fill("ReconnectPause", &o.ReconnectPause, 2*time.Second, time.Millisecond, time.Hour),
	)
}

// badOption returns an error about one option.
func badOption(name, detail string) error { return fmt.Errorf("broadcast: %s: %s", name, detail) }

// fill sets an option that is 0 to its default. It returns an error if the option
// is out of range.
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
		return badOption("TLS", "set both Cert and Key, or none of them")
	case len(o.URLs) > 0 && (e.Listen != "" || e.ClusterListen != "" || len(e.Routes) > 0):
		return badOption("URLs", "with an external NATS cluster, addresses and routes of an embedded server are not allowed")
	case e.ClusterAdvertise != "" && e.ClusterListen == "":
		return badOption("Embedded.ClusterAdvertise", "set ClusterListen too: this is the address at which other nodes reach it")
	case len(e.Routes) > 0 && e.ClusterListen == "":
		return badOption("Embedded.Routes", "set ClusterListen too: other nodes connect back to it")
	}
	return nil
}

// defaultName returns a random name.
func defaultName() string {
	var b [4]byte
	rand.Read(b[:]) // never fails
	return "node-" + hex.EncodeToString(b[:])
}

// printable reports whether s is ASCII without spaces and control characters.
func printable(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] > '~' {
			return false
		}
	}
	return true
}
