package push

import (
	"encoding/json"
	"sync/atomic"

	"go.uber.org/zap"

	"belfry/message"
	"belfry/report"
)

// maxWaitingLines is how many lines of a batch are published while earlier ones wait
// for their reports. Then the batch is not read until the first of them has an answer.
const maxWaitingLines = 256

// lineAnswer is what the answer to a line of a batch is made of.
type lineAnswer struct {
	n       int              // number of the line
	m       *message.Message // nil if the line was refused
	pending *report.Pending  // nil: nothing is awaited
	p       *problem
}

// inOrder adds the answers of a batch in the order of its lines. From the first line on
// that waits for reports it does that on a goroutine, so that later lines are published
// meanwhile. Used by one goroutine.
type inOrder struct {
	s     *Server
	out   *answers
	queue chan lineAnswer // nil: no line has waited yet
	done  chan struct{}   // closed when the goroutine has ended
	err   atomic.Pointer[error]
}

// add adds the answer to the next line. It returns the error of an earlier write.
func (o *inOrder) add(a lineAnswer) error {
	if o.queue == nil {
		if a.pending == nil {
			return o.out.add(func(b []byte) []byte { return o.s.appendAnswer(b, &a, nil) })
		}
		o.queue, o.done = make(chan lineAnswer, maxWaitingLines), make(chan struct{})
		go o.run()
	}
	o.queue <- a
	if err := o.err.Load(); err != nil {
		return *err
	}
	return nil
}

// close waits until all answers are added, and ends the goroutine.
func (o *inOrder) close() {
	if o.queue != nil {
		close(o.queue)
		<-o.done
	}
}

// run awaits the reports and adds the answers. It ends after close.
func (o *inOrder) run() {
	defer close(o.done)
	gone := func() bool { return o.err.Load() != nil }
	for a := range o.queue {
		var reports []byte
		if a.pending != nil {
			reports = o.await(a.pending, gone)
		}
		if err := o.out.add(func(b []byte) []byte { return o.s.appendAnswer(b, &a, reports) }); err != nil {
			o.err.Store(&err)
		}
		if len(o.queue) == 0 {
			o.out.flush()
		}
	}
}

// await returns the reports as JSON, nil after a fault, which is logged.
func (o *inOrder) await(p *report.Pending, gone func() bool) []byte {
	body, err := json.Marshal(p.Await(o.s.stop, gone))
	if err != nil {
		o.s.log.Error("report cannot be encoded", zap.Error(err))
		return nil
	}
	return body
}
