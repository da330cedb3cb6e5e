package push

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"belfry/message"
	"belfry/message/strictjson"
)

// Drain takes the clients off this node, and no other. Its methods may be called from any
// goroutine. ErrStopping is shown to the client (503); any other error is logged and
// answered with a 500.
type Drain interface {
	// Start closes the sessions, evenly over a time. If a drain is under way, it closes
	// what is left over the new time.
	Start(ctx context.Context, over time.Duration) (DrainStatus, error)
	Status() DrainStatus
	// Stop ends the drain. Without one it does nothing.
	Stop(ctx context.Context) (DrainStatus, error)
}

// ErrStopping refuses a drain because the node shuts down.
var ErrStopping = errors.New("this node is shutting down, which closes its sessions")

// States of a drain.
const (
	DrainOff     = "off"      // there is none
	DrainWaiting = "waiting"  // not ready; load balancers have time to notice (shutdown.delay)
	DrainRunning = "draining" // sessions are closed
	DrainDone    = "drained"  // no session is left; those that come are closed
)

// DrainStatus says how far a drain is. Without one only Node, State and Left are set.
type DrainStatus struct {
	Node   string    `json:"node"`
	State  string    `json:"state"`
	Total  int       `json:"total"`          // sessions when it began
	Closed int       `json:"closed"`         // since then, also of those that came later
	Left   int       `json:"left"`           // open sessions
	Rate   int       `json:"rate"`           // sessions closed in any second, at most
	Over   float64   `json:"over"`           // seconds, as the request had it
	Since  time.Time `json:"since,omitzero"` // when it began
	ETA    float64   `json:"eta"`            // seconds until no session is left, if none comes
}

// Limits of the time of a drain, and the time without one in the request.
const (
	MinDrain     = time.Second
	MaxDrain     = 24 * time.Hour
	DefaultDrain = 10 * time.Minute
)

// drainRoutes returns the routes of the drain.
func (s *Server) drainRoutes() []route {
	return []route{
		{routeDrain, http.MethodPost, "/v1/drain", accessPush, s.startDrain},
		{routeDrainRead, http.MethodGet, "/v1/drain", accessKeyed, s.drainAnswer(func(context.Context) (DrainStatus, error) { return s.opt.Drain.Status(), nil })},
		{routeDrainStop, http.MethodDelete, "/v1/drain", accessKeyed, s.drainAnswer(s.stopDrain)},
	}
}

func (s *Server) stopDrain(ctx context.Context) (DrainStatus, error) { return s.opt.Drain.Stop(ctx) }

// drainAnswer returns the handle of a request that answers with the status.
func (s *Server) drainAnswer(do func(context.Context) (DrainStatus, error)) handle {
	return func(w http.ResponseWriter, r *http.Request, _ call) int {
		if p := noParameters(r.URL.RawQuery); p != nil {
			return s.refuse(w, p)
		}
		return s.answerRead(w, func(ctx context.Context) (any, error) {
			st, err := do(ctx)
			return st, drainError(err)
		})
	}
}

// startDrain serves POST /v1/drain.
func (s *Server) startDrain(w http.ResponseWriter, r *http.Request, c call) int {
	object, p := s.readObject(w, r, c, maxCommandBody)
	if p != nil {
		return s.refuse(w, p)
	}
	over, err := drainTime(object)
	if err != nil {
		return s.refuse(w, s.readProblem(err))
	}
	return s.answerRead(w, func(ctx context.Context) (any, error) {
		st, err := s.opt.Drain.Start(ctx, over)
		return st, drainError(err)
	})
}

// drainError makes a problem of an error that is shown to the client.
func drainError(err error) error {
	if errors.Is(err, ErrStopping) {
		return problemError{&problem{cause: CauseShutdown, detail: err.Error()}}
	}
	return err
}

// drainTime reads the time of a drain.
func drainTime(body *strictjson.Object) (time.Duration, error) {
	const field = "over"
	if err := only(body, field); err != nil {
		return 0, err
	}
	v := body.Value(field)
	if v == nil {
		return DefaultDrain, nil
	}
	text, err := strictjson.String(field, v)
	if err != nil {
		return 0, err
	}
	over, err := time.ParseDuration(text)
	if over = cmp.Or(over, -1); err != nil || over < MinDrain || over > MaxDrain {
		return 0, &message.FieldError{Field: field, Detail: fmt.Sprintf("%q; allowed is a time from 1s to 24h, such as 10m", strictjson.Shorten(text))}
	}
	return over, nil
}
