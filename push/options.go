package push

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"go.uber.org/zap"

	"belfry/message"
)

// Publisher takes a message for delivery. It sets the message's ID if it has
// none, before it returns. After a nil error it owns the message and its
// payload. While the receivers are behind it waits, within w or until ctx is
// done, and returns whether it had to: backends that push faster than can be
// delivered are slowed down before they are refused.
//
// These errors are told to the client: *message.FieldError (400),
// *message.TooLargeError (413) and *message.OverloadedError (503 with
// Retry-After). For all three nothing was delivered. Any other error is a 500
// and goes to the log.
type Publisher interface {
	PublishWithin(ctx context.Context, m *message.Message, w message.Wait) (waited bool, err error)
}

// DefaultAddress is where the API listens unless told otherwise.
const DefaultAddress = "127.0.0.1:8081"

// Options are the settings of a Server. Publisher is required; the zero value
// of everything else is a safe default.
type Options struct {
	Publisher Publisher

	// Address is the host:port of the API. Without Keys it must be a
	// loopback address (see CheckAddress).
	Address string
	// HealthAddress is a host:port for /healthz, /readyz and /metrics, which
	// are then served there and not at Address. "" leaves them at Address.
	HealthAddress string
	// Keys are the API keys, each good for everything under /v1/. Without
	// any, requests need none and browsers are kept out by Host and Origin.
	Keys []Key
	// AllowedHosts are further values of the Host header to accept without
	// Keys, as "host" (with any port) or "host:port".
	AllowedHosts []string

	// Stats supplies what GET /v1/stats shows, as a value for encoding/json.
	Stats func() any
	// Ready supplies the reasons for which this node should get no traffic;
	// none means ready.
	Ready func() []string
	// Degraded supplies what does not work although the node is ready, for
	// /readyz to tell.
	Degraded func() []string
	// Config supplies what GET /v1/config shows, as a value for
	// encoding/json, without secrets; nil means 404.
	Config func() any
	// Healthy supplies the reasons for which this process should be
	// restarted; none means healthy.
	Healthy func() []string
	// Metrics serves /metrics; nil means 404.
	Metrics http.Handler
	// Dev serves "/" and what is below "/assets/", the demo page of --dev; nil
	// means 404.
	Dev http.Handler
	// Log gets faults of this side; nil means none.
	Log *zap.Logger

	Limits
}

// Limits bounds what clients may ask of the API. Each field that is 0 takes
// the default named beside it.
type Limits struct {
	MaxPayload     int // bytes of one message; 64 KiB; beyond: 413
	MaxBatchLine   int // bytes of one line of a batch; 6 × MaxPayload + 64 KiB, enough for any payload however escaped; beyond: 413 for the line
	MaxBatchLines  int // lines of one batch; 10,000; beyond: 413 for the rest
	MaxRequests    int // requests under /v1/ and lines of batches served at once; 2,048; beyond: 503
	MaxBodies      int // bodies on their way in, at most half of them batches; 1,024; beyond: 503. Should be at most half of MaxConnections
	BodyBytes      int // bytes of these that are held; 64 MiB, at least MaxBatchLine; beyond: 503
	MaxConnections int // open connections per address; 8,192; beyond: one that was answered or waits is closed, or this one with 503
	MaxHeaderBytes int // request line and headers; 16 KiB (net/http adds 4 KiB of slack); beyond: 431

	ReadHeaderTimeout time.Duration // for the whole request head; 5 s; beyond: closed
	ReadTimeout       time.Duration // for the whole request, batches aside; 30 s; beyond: 408
	WriteTimeout      time.Duration // for the answer, and for each write of a batch's; 30 s; beyond: closed
	IdleTimeout       time.Duration // between requests of a connection; 2 min; beyond: closed
	PushWait          time.Duration // of a push whose receivers are behind; 1 s, at most half of WriteTimeout; beyond: published, and refused if there is no room
	BatchIdleTimeout  time.Duration // for each line of a batch to arrive whole; 60 s; beyond: 408 as its last line
	ShutdownTimeout   time.Duration // for requests under way when the server stops; 10 s; beyond: closed
}

// MaxPayloadLimit is the most that Limits.MaxPayload may be set to. Messages
// are held in memory whole.
const MaxPayloadLimit = 64 << 20

// fill gives limits that are 0 their default and refuses what is out of range.
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
		fill("BatchIdleTimeout", &l.BatchIdleTimeout, time.Minute, time.Millisecond, maxTimeout),
		fill("ShutdownTimeout", &l.ShutdownTimeout, 10*time.Second, time.Millisecond, maxTimeout),
	)
	err = errors.Join(err, fill("MaxBatchLine", &l.MaxBatchLine, 6*l.MaxPayload+64<<10, 1, 8*most))
	l.BodyBytes = max(l.BodyBytes, l.MaxBatchLine+lineSlack)
	l.PushWait = min(l.PushWait, l.WriteTimeout/2) // an answer has to get through
	return err
}

// maxTimeout bounds every time of Limits.
const maxTimeout = 24 * time.Hour

// fill gives an option that is 0 its default and refuses what is out of range.
func fill[T int | time.Duration](name string, v *T, def, least, most T) error {
	if *v == 0 {
		*v = def
	}
	if *v < least || *v > most {
		return fmt.Errorf("push: %s is %v; allowed are %v to %v", name, *v, least, most)
	}
	return nil
}
