package session

import (
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"belfry/message"
	"belfry/poller"
)

// A topic is sent one message after the other, without a pause, with the
// processors that a server takes. An HTTP server in the process answers and
// single pushes arrive. How long that takes is counted in fan-out runs, of which a
// server without processors to spare makes many before anybody gets a turn.
func TestFanOutStarvesNobody(t *testing.T) {
	const clients, rounds = 300, 40
	const most = 60 // fan-out runs for each answer, on average; 0.2 to 10 are usual
	r := newRig(t, Options{Poller: poller.Options{Policy: poller.DropOldest}})
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(max(runtime.NumCPU(), poller.Processors(2))))
	var readers, publisher sync.WaitGroup
	t.Cleanup(readers.Wait) // after the wires have been closed
	for range clients {
		w := r.mustWire("/ws?topic=t", "")
		w.SetReadDeadline(time.Time{})
		readers.Go(func() { io.Copy(io.Discard, w.TCPConn) })
	}
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { io.Copy(w, req.Body) }))
	defer web.Close()

	stop := make(chan struct{})
	publisher.Go(func() { r.keepBusy(stop) })
	user := r.mustWire("/ws?uid=u", "")
	for what, do := range map[string]func() error{
		"HTTP echo": func() error {
			resp, err := http.Post(web.URL, "text/plain", strings.NewReader("hello"))
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			_, err = io.ReadAll(resp.Body)
			return err
		},
		"push to a user": func() error { return r.pushAndRead(user) },
	} {
		var runs uint64
		for range 3 { // another process may take the processors for a while
			before := r.Stats()
			for range rounds {
				if err := do(); err != nil {
					t.Fatalf("%s: %v", what, err)
				}
			}
			st := r.Stats()
			runs = st.FanoutRuns - before.FanoutRuns
			t.Logf("%s: %.1f fan-out runs, %d deliveries each", what, float64(runs)/rounds, (st.Deliveries-before.Deliveries)/rounds)
			if runs <= rounds*most {
				break
			}
		}
		if runs > rounds*most {
			t.Errorf("%s took %d fan-out runs each", what, runs/rounds)
		}
	}
	if n := r.Stats().Poller.MailboxFull["bulk"]; n == 0 {
		t.Error("the fan-out was never so much that it had to wait")
	}
	close(stop)
	publisher.Wait()
	r.fanoutDone()
}

// keepBusy pushes to a topic as fast as it can until stop is closed.
func (r *rig) keepBusy(stop <-chan struct{}) {
	m := &message.Message{Target: message.ToTopics("t"), Payload: make([]byte, 128)}
	for {
		select {
		case <-stop:
			return
		default:
			if r.push(m) != nil { // the queue is full: work is waiting
				runtime.Gosched()
			}
		}
	}
}

// pushAndRead pushes to the user u and reads until u's client has the push.
func (r *rig) pushAndRead(user *rawConn) error {
	r.deliver(message.ToUsers("u"), "single")
	for {
		_, p, err := user.frame()
		if err != nil || string(p) == "single" {
			return err
		}
	}
}
