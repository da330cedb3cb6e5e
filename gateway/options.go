package gateway

import (
	"context"
	"fmt"
	"time"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/webhook"
	"belfry/wire"
)

// Sessions is what the gateway needs of the sessions of this node. The methods are
// called on the gateway's goroutines, for one session in the order in which the
// client is to see the effects, and must not wait. They return session.ErrNoSession
// if the session is gone, and other errors if there is no room now. Resume, Close and
// a Reply without data are refused only for a session that is gone.
type Sessions interface {
	// Resume reads a session again for which Received has returned pause.
	Resume(sid string) error
	// Reply answers a command of a client.
	Reply(sid string, r *wire.Reply) error
	// SendTo pushes a message to one session, without the bus.
	SendTo(sid string, m *message.Message) error
	Subscribe(sid string, topics []string) error
	Unsubscribe(sid string, topics []string) error
	SetMeta(sid string, meta []byte) error
	// Close ends a session with a close code and a text for people.
	Close(sid string, code uint16, reason string) error
}

// Publisher publishes messages to all nodes.
type Publisher interface {
	Publish(m *message.Message) error
}

// Backend calls one backend. *webhook.Backend is one.
type Backend interface {
	Call(ctx context.Context, c *webhook.Call) (*webhook.Answer, error)
	Refuse() bool // whether Call would return webhook.ErrOpen at once
	Stats() webhook.Stats
	Close()
}

// Options configure a Gateway.
type Options struct {
	Node      string // name of this node: ce-source is /nodes/NAME
	NodeID    uint32 // differs for every node: the first part of ids
	Routes    []Route
	Publisher Publisher
	Gate      webhook.Gate // for the workers, and that of all Backends

	InFlight     int           // calls of all routes; 0: 4096
	QueueBytes   int64         // of all events; 0: 64 MiB
	SessionQueue int           // messages of a session; 0: 16
	SessionBytes int64         // of the messages of a session; 0: 256 KiB
	RetryMax     time.Duration // between tries of at_least_once; 0: 30 s
	Log          *zap.Logger   // nil: none
}

// Route says which events go to which backend.
type Route struct {
	Name    string
	Backend Backend
	Events  []Kind

	Path        string // of the request; "": any
	Subprotocol string // that the client got; "": any
	Match       Match

	Idempotent  bool
	AtLeastOnce bool // only with Idempotent

	InFlight      int   // calls; 0: 256
	InFlightBytes int64 // 0: 16 MiB
	Queue         int   // sessions whose message waits, and other events that wait; 0: 65536

	Headers []string // of the client's request, which calls repeat
	Cookies []string
	OnError OnError
}

// Match says which events of a session a route takes. An empty field matches
// everything.
type Match struct {
	UID   string // exact, a prefix followed by *, or * for any user
	Topic string // exact, a prefix that ends in .*, or *
	Event string // exact, a prefix followed by *, or * for any event
	Field string // a field of the message, which is a JSON object
	Value string // of Field: exact, or a prefix followed by *; "": any
}

// OnError says what a plain client gets for a message that failed.
type OnError uint8

const (
	Drop  OnError = iota // nothing
	Close                // close code CloseFailed
	Text                 // the text of the error
)

// ParseOnError returns the OnError with that name in the configuration.
func ParseOnError(name string) (OnError, error) {
	for o, known := range []string{"drop", "close", "text"} {
		if name == known {
			return OnError(o), nil
		}
	}
	return 0, fmt.Errorf("gateway: on_error %q; allowed are drop, close and text", name)
}

// CloseFailed is the close code of OnError Close.
const CloseFailed = 4500

// maxRoutes limits the routes: each event is compared with those of its session.
const maxRoutes = 64

// fill sets the defaults of options that are 0, and checks ranges.
func (o *Options) fill() error {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if len(o.Routes) > maxRoutes {
		return fmt.Errorf("gateway: %d routes; allowed are up to %d", len(o.Routes), maxRoutes)
	}
	for _, err := range []error{
		fill("InFlight", &o.InFlight, 4096, 1, 1<<20),
		fill("QueueBytes", &o.QueueBytes, 64<<20, 1<<20, 64<<30),
		fill("SessionQueue", &o.SessionQueue, 16, 1, 1<<16),
		fill("SessionBytes", &o.SessionBytes, 256<<10, 1<<10, 64<<20),
		fill("RetryMax", &o.RetryMax, 30*time.Second, 100*time.Millisecond, time.Hour),
	} {
		if err != nil {
			return err
		}
	}
	for i := range o.Routes {
		r := &o.Routes[i]
		for _, err := range []error{
			fill("InFlight", &r.InFlight, 256, 1, 1<<16),
			fill("InFlightBytes", &r.InFlightBytes, 16<<20, 64<<10, 4<<30),
			fill("Queue", &r.Queue, 65536, 1, 1<<24),
		} {
			if err != nil {
				return fmt.Errorf("%w (route %s)", err, r.Name)
			}
		}
	}
	return nil
}

func fill[T int | int64 | time.Duration](name string, v *T, def, least, most T) error {
	if *v == 0 {
		*v = def
	}
	if *v < least || *v > most {
		return fmt.Errorf("gateway: %s is %v; allowed are %v to %v", name, *v, least, most)
	}
	return nil
}
