package restart

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"belfry/bench"
	"belfry/bench/target"
)

// load is what goes on while the node is restarted. Each part runs until stop is called.
type load struct {
	*run
	ending chan struct{}
	failed chan error // has room for one error of each part
	parts  sync.WaitGroup
	users  []uint32 // the last push to each user
	topics uint32   // the last message to the topic
	all    uint32   // the last message to all
}

// begin starts all parts.
func (r *run) begin(ctx context.Context) *load {
	l := &load{run: r, ending: make(chan struct{}), failed: make(chan error, 8), users: make([]uint32, r.o.users())}
	l.start(ctx, "messages to all", r.o.Broadcasts, l.broadcast)
	l.start(ctx, "messages to the topic", r.o.Topics, func(ctx context.Context) error {
		l.topics++
		return r.pub.topic(ctx, l.topics)
	})
	next := 0
	l.start(ctx, "pushes", r.o.Pushes, func(ctx context.Context) error {
		next = (next + 7919) % len(l.users) // a prime: users in a mixed order
		l.users[next]++
		return r.pub.push(ctx, r.pub.api, "/v1/users/"+bench.UID(next), bench.Message{Stream: bench.Direct, User: uint32(next), Seq: l.users[next]})
	})
	if r.callers != nil {
		l.start(ctx, "calls", 1, l.call)
	}
	if r.churn != nil {
		l.start(ctx, "connects", 20, l.reconnect)
	}
	return l
}

// start repeats a part at a rate until stop is called. What is late is not made up for.
func (l *load) start(ctx context.Context, what string, rate float64, part func(context.Context) error) {
	l.parts.Go(func() {
		ticks := time.NewTicker(time.Duration(float64(time.Second) / rate))
		defer ticks.Stop()
		for {
			select {
			case <-ticks.C:
			case <-l.ending:
				return
			case <-ctx.Done():
				return
			}
			if err := part(ctx); err != nil {
				l.failed <- fmt.Errorf("%s: %w", what, err)
				return
			}
		}
	})
}

// stop ends the load and returns the first error.
func (l *load) stop() error {
	close(l.ending)
	l.parts.Wait()
	select {
	case err := <-l.failed:
		return err
	default:
		return nil
	}
}

// broadcast sends a message to all and waits until the clients that stay have it.
func (l *load) broadcast(ctx context.Context) error {
	seq, crowd := l.crowd.Expect()
	_, room := l.room.Expect()
	l.all = seq
	if err := l.pub.push(ctx, l.pub.others, "/v1/all", bench.Message{Stream: bench.Broadcast, Seq: seq}); err != nil {
		return err
	}
	_, err := crowd(ctx)
	_, err2 := room(ctx)
	return errors.Join(err, err2)
}

// call has clients ask the backend for a second.
func (l *load) call(ctx context.Context) error {
	e, err := l.callers.Echo(ctx, bench.Echo{Rate: l.o.Calls, Size: l.o.Size, Duration: int64(time.Second), Grace: int64(patience)})
	l.Asked += e.Sent
	l.Answered += e.Back
	return err
}

// reconnect connects the clients that come and go, and disconnects them.
func (l *load) reconnect(ctx context.Context) error {
	c, err := l.churn.Connect(ctx, 0, l.o.Churn)
	if err != nil {
		return err
	}
	l.Churned += c.Opened
	if l.Failed += c.Failed; c.Failed > 0 && len(l.Causes) < 10 {
		l.Causes = append(l.Causes, c.Err().Error())
	}
	return l.churn.Drop(ctx)
}

// arrived waits until the clients have everything that was sent, and counts.
func (l *load) arrived(ctx context.Context) error {
	pushes := uint64(0)
	for _, n := range l.users {
		pushes += uint64(n)
	}
	l.Sent = pushes + uint64(l.topics) + uint64(l.all)
	for _, want := range []struct {
		pool   *bench.Pool
		direct uint64
	}{{l.crowd, pushes * uint64(l.o.PerUser)}, {l.room, uint64(l.topics) * uint64(l.o.Members)}} {
		_ = target.Until(ctx, patience, nil, func() error { // what is missing is counted below
			s, err := want.pool.Counters(ctx)
			if err == nil && s.Direct.Received < want.direct {
				err = fmt.Errorf("%d of %d messages have arrived", s.Direct.Received, want.direct)
			}
			return err
		})
		s, err := want.pool.Stats(ctx)
		if err != nil {
			return err
		}
		l.count(&s)
		if s.Direct.Received < want.direct {
			l.Faults += want.direct - s.Direct.Received - min(s.Direct.Lost, want.direct-s.Direct.Received)
		}
	}
	if l.callers == nil {
		return nil
	}
	s, err := l.callers.Stats(ctx)
	if err == nil {
		l.count(&s)
	}
	return err
}

// count adds what went wrong.
func (l *load) count(s *bench.Stats) {
	l.Ended += s.Lost()
	l.Received += s.Broadcast.Received + s.Direct.Received
	l.Faults += s.Broadcast.Faults() + s.Direct.Faults() + s.Corrupt + s.Misled + s.Missing
	if err := s.Faults(); err != nil && len(l.Causes) < 10 {
		l.Causes = append(l.Causes, err.Error())
	}
	if s.Lost() > 0 {
		l.Causes = append(l.Causes, "sessions ended: "+bench.Causes(s.Ended))
	}
}

// restarts restarts the node again and again under load.
func (r *run) restarts(ctx context.Context) error {
	l := r.begin(ctx)
	err := bench.Sleep(ctx, r.o.Pause)
	for i := 0; i < r.o.Restarts && err == nil; i++ {
		r.p.Step("restart %d", i+1)
		err = r.once(ctx)
	}
	if err = errors.Join(err, l.stop()); err != nil && len(r.Restarts) == 0 {
		return err
	}
	r.p.Step("the last messages")
	return errors.Join(err, l.arrived(ctx))
}

// once restarts the node once.
func (r *run) once(ctx context.Context) error {
	pools := []*bench.Pool{r.crowd, r.room}
	if r.callers != nil {
		pools = append(pools, r.callers)
	}
	for _, pool := range pools {
		if err := pool.Mark(ctx); err != nil {
			return err
		}
	}
	refused := r.pub.refused.Load()
	one, err := r.node.restart(ctx)
	r.Restarts = append(r.Restarts, one)
	if err != nil {
		return err
	}
	if err := bench.Sleep(ctx, r.o.Pause); err != nil {
		return err
	}
	last := &r.Restarts[len(r.Restarts)-1]
	last.Refused = r.pub.refused.Load() - refused
	for _, pool := range pools {
		s, err := pool.Stats(ctx)
		if err != nil {
			return err
		}
		last.Silence = max(last.Silence, s.Broadcasts.Quantiles().Max, s.Directs.Quantiles().Max)
	}
	return r.node.rest(last)
}
