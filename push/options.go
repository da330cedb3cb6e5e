package push

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"belfry/idempotency"
	"belfry/message"
)

// Publisher takes messages for delivery. PublishWithin may be called from any
// goroutine. Before it returns, it sets the ID of a message that has none. If it
// returns no error, it owns the message and its payload. It waits while the
// message's shards are busy, within w or until ctx is done, and reports whether it
// waited. So backends that push too fast are slowed down before they are refused.
//
// Three errors are shown to the client: *message.FieldError (400),
// *message.TooLargeError (413) and *message.OverloadedError (503 with
// Retry-After). They mean that nothing was delivered. Any other error is logged and
// answered with a 500.
type Publisher interface {
	PublishWithin(ctx context.Context, m *message.Message, w message.Wait) (waited bool, err error)
}

// DefaultAddress is the default of Options.Address.
const DefaultAddress = "127.0.0.1:8081"

// Options are the settings of a Server. Publisher is required. The zero value of
// every other field is a safe default.
type Options struct {
	Publisher Publisher
	// Sessions serves the requests that end sessions and change their
	// permissions and subscriptions; nil means 404.
	Sessions Sessions
	// Reports serves pushes that wait for what became of them (?wait=); nil means
	// 400 for them.
	Reports Reports
	// Idempotency has the Idempotency-Keys of pushes; nil: those of this server only,
	// with the defaults of idempotency.Options.
	Idempotency *idempotency.Keys
	// Drain serves /v1/drain; nil means 404.
	Drain Drain
	// Presence serves the requests that read who is online and subscribed to
	// what; nil means 404.
	Presence Presence

	// Address is the host:port of the API. Without Keys it must be a
	// loopback address (see CheckAddress).
	Address string
	// TLS makes the API at Address speak HTTPS, with HTTP/1.1 only; nil: HTTP. At
	// HealthAddress there is no TLS.
	TLS *tls.Config
	// HealthAddress is a host:port for /healthz, /readyz and /metrics, which
	// are then not served at Address. With "" they are served at Address.
	HealthAddress string
	// Keys are the API keys. Each key permits everything under /v1/. Without
	// Keys, requests need no key, and Host and Origin are checked to refuse
	// requests of web pages.
	Keys []Key
	// AllowedHosts are further Host headers that are accepted without Keys,
	// as "host" (with any port) or "host:port".
	AllowedHosts []string

	// Stats returns the value that GET /v1/stats encodes as JSON; nil means {}.
	Stats func() any
	// Ready returns the reasons for which this node should get no traffic. No
	// reason, or a nil Ready, means that the node is ready.
	Ready func() []string
	// Degraded returns what does not work although the node is ready. /readyz
	// shows it.
	Degraded func() []string
	// Config returns the value that GET /v1/config encodes as JSON, without
	// secrets; nil means 404.
	Config func() any
	// Reload reads the settings again, and returns the value that POST /v1/reload
	// encodes as JSON; nil means 404. A *SettingsError is answered with 422, any
	// other error with 500.
	Reload func() (any, error)
	// Healthy returns the reasons for which this process should be restarted.
	// No reason, or a nil Healthy, means that the process is healthy.
	Healthy func() []string
	// Metrics serves /metrics; nil means 404.
	Metrics http.Handler
	// Dev serves the demo page of --dev at "/" and below "/assets/"; nil means
	// 404.
	Dev http.Handler
	// Log gets faults of the server and refused requests; nil: nothing is
	// logged.
	Log *zap.Logger

	Limits
}

// Limits are the limits of the API. A field that is 0 gets its default. Each
// comment has the default and what happens beyond the limit.
type Limits struct {
	MaxPayload     int // bytes of one message; 64 KiB; beyond: 413
	MaxBatchLine   int // bytes of one line of a batch; 6 × MaxPayload + 64 KiB, enough for any payload with any escapes; beyond: 413 for the line
	MaxBatchLines  int // lines of one batch; 10,000; beyond: 413 for the rest
	MaxRequests    int // requests under /v1/ and lines of batches served at once; 2,048; beyond: 503
	MaxBodies      int // request bodies arriving at once, at most half of them batches; 1,024; beyond: 503. It should be at most half of MaxConnections
	BodyBytes      int // bytes held of arriving bodies; 64 MiB, and at least a line of MaxBatchLine; beyond: 503
	MaxConnections int // open connections at each address; 8,192; beyond: a connection that is not being served is closed, or else the new one gets 503
	MaxHeaderBytes int // bytes of request line and headers; 16 KiB (net/http allows 4 KiB more); beyond: 431

	ReadHeaderTimeout time.Duration // for the request head to arrive; 5 s; beyond: the connection is closed
	ReadTimeout       time.Duration // for the whole request to arrive, except batches; 30 s; beyond: 408
	WriteTimeout      time.Duration // for sending the answer, or one write of a batch's answers; 30 s; beyond: the connection is closed
	IdleTimeout       time.Duration // between requests of a connection; 2 min; beyond: the connection is closed
	PushWait          time.Duration // for a push to wait for busy shards; 1 s, at most half of WriteTimeout; beyond: 503 if there is still no room
	NodesWait         time.Duration // for other nodes to end, change or read sessions; 2 s, at most half of WriteTimeout; beyond: the answer says which nodes did not answer
	BatchIdleTimeout  time.Duration // for each line of a batch to arrive completely; 60 s; beyond: the last line of the answer is a 408
	ShutdownTimeout   time.Duration // for requests that are being served when the server stops; 10 s; beyond: their connections are closed
}

// MaxPayloadLimit is the largest allowed Limits.MaxPayload. Messages are held in
// memory completely.
const MaxPayloadLimit = 64 << 20

// fill sets limits that are 0 to their defaults. It returns an error that names
// each limit out of range.
func (l *Limits) fill() error {
	const most = MaxPayloadLimit
	err := errors.Join(
		fill("MaxPayload", &l.MaxPayload, 64<<10, 1, most),
		fill("MaxBatchLines", &l.MaxBatchLines, 10_000, 1, 10_000_000),
		fill("MaxRequests", &l.MaxRequests, 2048, 1, 1<<20),
		fill("MaxBodies", &l.MaxBodies, 1024, 1, 1<<20),
		fill("BodyBytes", &l.BodyBytes, 64<<20, 1, 1<<40),
		fill("MaxConnections", &l.MaxConnections, 8192, 1, 1<<20),
		fill("MaxHeaderBytes", &l.MaxHeaderBytes, 16<<10, 1, 1<<20),

		fill("ReadHeaderTimeout", &l.ReadHeaderTimeout, 5*time.Second, time.Millisecond, maxTimeout),
		fill("ReadTimeout", &l.ReadTimeout, 30*time.Second, time.Millisecond, maxTimeout),
		fill("WriteTimeout", &l.WriteTimeout, 30*time.Second, time.Millisecond, maxTimeout),
		fill("IdleTimeout", &l.IdleTimeout, 2*time.Minute, time.Millisecond, maxTimeout),
		fill("PushWait", &l.PushWait, time.Second, time.Millisecond, maxTimeout),
		fill("NodesWait", &l.NodesWait, 2*time.Second, time.Millisecond, maxTimeout),
		fill("BatchIdleTimeout", &l.BatchIdleTimeout, time.Minute, time.Millisecond, maxTimeout),
		fill("ShutdownTimeout", &l.ShutdownTimeout, 10*time.Second, time.Millisecond, maxTimeout),
	)
	err = errors.Join(err, fill("MaxBatchLine", &l.MaxBatchLine, 6*l.MaxPayload+64<<10, 1, 8*most))
	l.BodyBytes = max(l.BodyBytes, l.MaxBatchLine+lineSlack)
	l.PushWait = min(l.PushWait, l.WriteTimeout/2) // time remains to send the answer
	l.NodesWait = min(l.NodesWait, l.WriteTimeout/2)
	return err
}

// maxTimeout is the largest duration in Limits.
const maxTimeout = 24 * time.Hour

// fill sets an option that is 0 to its default. It returns an error if the option
// is out of range.
func fill[T int | time.Duration](name string, v *T, def, least, most T) error {
	if *v == 0 {
		*v = def
	}
	if *v < least || *v > most {
		return fmt.Errorf("push: %s is %v; allowed are %v to %v", name, *v, least, most)
	}
	return nil
}
