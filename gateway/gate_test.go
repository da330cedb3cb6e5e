package gateway

import (
	"context"
	"testing"
	"testing/synctest"

	"belfry/message"
	"belfry/session"
	"belfry/webhook"
)

// While a message is published, which may wait, its worker has no place in the gate.
func TestPublishGivesPlaceUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &waiting{began: make(chan struct{}), end: make(chan struct{})}
		g := &Gateway{opt: Options{Gate: make(webhook.Gate, 1), Publisher: p}}
		var sessions Sessions = newNode()
		g.sessions.Store(&sessions)
		go func() {
			g.opt.Gate.Enter()
			defer g.opt.Gate.Leave()
			if err := g.run(&event{client: &session.Client{}}, &command{kind: push, target: &message.Target{}}); err != nil {
				t.Error(err)
			}
		}()
		<-p.began
		g.opt.Gate.Enter() // blocks the test for ever if the place is taken
		g.opt.Gate.Leave()
		close(p.end)
		synctest.Wait()
		if len(g.opt.Gate) != 0 {
			t.Error("a place was not given back")
		}
	})
}

type waiting struct{ began, end chan struct{} }

func (w *waiting) Publish(*message.Message) error {
	close(w.began)
	<-w.end
	return nil
}

// No request is made for an event whose backend is left alone.
func TestRefusedWithoutRequest(t *testing.T) {
	b := &closedBackend{}
	g := &Gateway{ctx: context.Background()}
	if _, err := g.ask(&event{route: &route{Route: &Route{Backend: b}}}); err != webhook.ErrOpen { // an event without a client: request would panic
		t.Errorf("%v, want ErrOpen", err)
	}
}

type closedBackend struct{ Backend }

func (*closedBackend) Refuse() bool { return true }
