package broadcast

import "context"

// pauses stop the goroutines of the bus between two steps, each with a channel of its
// own. While a goroutine is paused, the one that paused it owns what it owns.
type pauses struct {
	sender, interest, receiver, control chan *pause
}

func newPauses() pauses {
	return pauses{make(chan *pause), make(chan *pause), make(chan *pause), make(chan *pause)}
}

// pause is a step of a goroutine that lasts until resume is closed.
type pause struct {
	begin  func()        // runs on the goroutine first
	begun  chan struct{} // closed behind it
	resume <-chan struct{}
}

// run returns when the pause has ended. It reports whether the goroutine goes on: not
// when the bus is closed, because what waits in its channels is then for the next process.
func (p *pause) run(stop <-chan struct{}) (goOn bool) {
	func() {
		defer close(p.begun) // also when begin panics
		p.begin()
	}()
	select {
	case <-p.resume:
	case <-stop:
	}
	select {
	case <-stop:
		return false
	default:
		return true
	}
}

// pause pauses the goroutine that reads from to, after begin, until resume is closed.
func (b *NATS) pause(ctx context.Context, to chan *pause, resume <-chan struct{}, begin func()) error {
	p := &pause{begin: begin, begun: make(chan struct{}), resume: resume}
	select {
	case to <- p:
	case <-b.stop:
		return errClosed
	case <-ctx.Done():
		return ctx.Err()
	}
	<-p.begun
	return nil
}
