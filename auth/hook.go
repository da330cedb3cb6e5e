package auth

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"runtime/debug"
	"strconv"
	"sync/atomic"
	"time"

	"go.uber.org/zap"

	"belfry/webhook"
)

// Hook says how a webhook that decides is called.
type Hook struct {
	Backend *webhook.Backend
	Source  string       // ce-source of the calls, such as /nodes/a
	Gate    webhook.Gate // of Backend

	Workers    int           // calls at the same time; 0: 256
	QueueBytes int           // of decisions that wait or are being made; 0: 16 MiB; beyond: 503, or err undecided
	Wait       time.Duration // longest time until a call begins; then it is not made; 0: 10 s

	Log *zap.Logger // nil: none
}

func (h *Hook) fill() error {
	if h.Log == nil {
		h.Log = zap.NewNop()
	}
	if h.Backend == nil {
		return errors.New("auth: a webhook needs a backend")
	}
	return errors.Join(
		fill("Workers", &h.Workers, 256, 1, 1<<16),
		fill("QueueBytes", &h.QueueBytes, 16<<20, 1<<16, 1<<40),
		fill("Wait", &h.Wait, 10*time.Second, time.Millisecond, time.Hour),
	)
}

// caller calls a webhook on goroutines of its own.
type caller struct {
	opt    Hook
	queue  hookQueue
	prefix string        // of the ids of events; random
	events atomic.Uint64 // number of ids
	warned atomic.Int64  // Unix ns of the last log line

	stopping context.Context
	stop     context.CancelFunc
}

func newCaller(h Hook) (*caller, error) {
	if err := h.fill(); err != nil {
		return nil, err
	}
	c := &caller{opt: h, queue: hookQueue{workers: h.Workers, maxBytes: int64(h.QueueBytes)}}
	c.stopping, c.stop = context.WithCancel(context.Background())
	var b [8]byte
	rand.Read(b[:]) // never fails
	c.prefix = hex.EncodeToString(b[:]) + "-"
	return c, nil
}

// close ends calls in flight and waits for the goroutines.
func (c *caller) close() {
	c.stop()
	c.queue.close()
	c.opt.Backend.Close()
}

// Errors of caller.call beside those of webhook.Backend.Call.
var (
	errWaited   = errors.New("the decision had to wait too long")
	errStopping = errors.New("this server stops")
)

// call sends an event and returns the answer. It runs on a goroutine of the queue.
// since is when the decision began to wait, who the client that waits.
func (c *caller) call(since time.Time, who webhook.Caller, name string, attributes []webhook.Attribute, body []byte) (*webhook.Answer, error) {
	switch {
	case c.stopping.Err() != nil:
		return nil, errStopping
	case time.Since(since) > c.opt.Wait:
		return nil, errWaited
	}
	c.opt.Gate.Enter()
	defer c.opt.Gate.Leave()
	answer, err := c.opt.Backend.Call(c.stopping, &webhook.Call{
		ID:          c.prefix + strconv.FormatUint(c.events.Add(1), 10),
		Type:        name,
		Source:      c.opt.Source,
		Time:        time.Now(),
		Caller:      who,
		Extensions:  attributes,
		ContentType: "application/json",
		Body:        body,
		Idempotent:  true, // it decides and changes nothing
	})
	if err != nil && c.stopping.Err() != nil {
		return nil, errStopping
	}
	return answer, err
}

// guard runs a job. If the job panics it calls fault, so that a fault of this
// server costs one decision and not the process.
func (c *caller) guard(job, fault func()) {
	defer func() {
		if cause := recover(); cause != nil {
			c.opt.Log.Error("a decision of a webhook failed: a fault of this server", zap.Any("panic", cause), zap.ByteString("stack", debug.Stack()))
			fault()
		}
	}()
	job()
}

// warn logs what is wrong with a webhook, once a minute at most. err must not hold
// anything secret.
func (c *caller) warn(text, effect string, err error) {
	now := time.Now().UnixNano()
	if last := c.warned.Load(); (last == 0 || now-last > int64(time.Minute)) && c.warned.CompareAndSwap(last, now) {
		c.opt.Log.Warn(text, zap.String("effect", effect), zap.Error(err))
	}
}

// HookStats is a snapshot of a webhook that decides. The counters count from the
// start.
type HookStats struct {
	Decisions map[string]uint64 // by what was decided
	Waiting   int               // decisions that no call was made for yet
	Bytes     int64             // of decisions that wait or are being made
	QueueFull uint64            // decisions that found no room
	Backend   webhook.Stats
}

func (c *caller) stats(decisions map[string]uint64) HookStats {
	st := HookStats{Decisions: decisions, Backend: c.opt.Backend.Stats()}
	st.Waiting, st.Bytes, st.QueueFull = c.queue.load()
	return st
}
