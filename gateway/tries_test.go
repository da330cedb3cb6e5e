package gateway

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"belfry/session"
	"belfry/webhook"
)

// With at_least_once an event is tried again until the backend takes or refuses it. An
// answer that is too big has been taken, and is not asked for again. Without it nothing
// is tried again.
func TestWhatIsTriedAgain(t *testing.T) {
	for _, tc := range []struct {
		name    string
		err     error
		again   bool
		dropped string
	}{
		{"400", &webhook.StatusError{Answer: &webhook.Answer{Status: 400}}, false, "refused"},
		{"404", &webhook.StatusError{Answer: &webhook.Answer{Status: 404}}, false, "refused"},
		{"408", &webhook.StatusError{Answer: &webhook.Answer{Status: http.StatusRequestTimeout}}, true, "failed"},
		{"429", &webhook.StatusError{Answer: &webhook.Answer{Status: http.StatusTooManyRequests}}, true, "failed"},
		{"500", &webhook.StatusError{Answer: &webhook.Answer{Status: 500}}, true, "failed"},
		{"no connection", errors.New("refused"), true, "failed"},
		{"10 MB", webhook.ErrAnswerTooBig, false, "answer"},
	} {
		for _, atLeastOnce := range []bool{true, false} {
			synctest.Test(t, func(t *testing.T) {
				b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) { return nil, tc.err }}
				g := start(t, newNode(), Options{Routes: []Route{{Name: "r", Backend: b, Events: []Kind{Connect}, Idempotent: atLeastOnce, AtLeastOnce: atLeastOnce}}})
				defer stop(g)
				g.Opened(client(g, "s"))
				time.Sleep(10 * time.Second)
				synctest.Wait()
				calls, s := len(b.got()), g.Stats().Routes[0]
				if again := calls > 1; again != (tc.again && atLeastOnce) {
					t.Errorf("%s, at least once %v: %d calls", tc.name, atLeastOnce, calls)
				}
				if b.got()[0].Idempotent != atLeastOnce {
					t.Errorf("%s: the call says it is idempotent: %v", tc.name, !atLeastOnce)
				}
				want := map[[2]string]uint64{{"connect", tc.dropped}: 1}
				if tc.again && atLeastOnce {
					want = map[[2]string]uint64{}
				}
				if !reflect.DeepEqual(s.Dropped, want) {
					t.Errorf("%s, at least once %v: dropped %v; want %v", tc.name, atLeastOnce, s.Dropped, want)
				}
				// What a backend refuses is not lost.
				if got := len(g.Degraded()) > 0; got != (len(want) > 0 && tc.dropped != "refused") {
					t.Errorf("%s, at least once %v: degraded %q", tc.name, atLeastOnce, g.Degraded())
				}
			})
		}
	}
}

// Every call is counted by what became of its answer, and every command.
func TestResultsAreCounted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		answers := map[string]func(*webhook.Call) (*webhook.Answer, error){
			"empty":   func(*webhook.Call) (*webhook.Answer, error) { return ok("text/plain", "") },
			"body":    func(*webhook.Call) (*webhook.Answer, error) { return ok("text/plain", "x") },
			"refused": func(*webhook.Call) (*webhook.Answer, error) { return status(400, "", "") },
			"failed":  func(*webhook.Call) (*webhook.Answer, error) { return status(500, "", "") },
			"fault":   func(*webhook.Call) (*webhook.Answer, error) { return nil, nil },
			"list":    commands(`{"type":"subscribe","topic":"a"},{"type":"reply","data":"x"},{"type":"close"}`),
			"broken":  commands(`{"type":"reply","data":"x"},{"type":"meta","meta":null},{"type":"close"}`),
		}
		b := &backend{answer: func(c *webhook.Call) (*webhook.Answer, error) { return answers[string(c.Body)](c) }}
		n := newNode()
		n.fail["meta"] = true
		g := start(t, n, Options{Routes: []Route{{Backend: b}}})
		for name := range answers {
			for range 2 {
				g.Received(client(g, name), rpc("1", name))
			}
		}
		synctest.Wait()
		s := g.Stats()
		stop(g)
		want := map[string]uint64{"empty": 2, "pushed": 2, "refused": 2, "failed": 4, "commands": 4}
		if !reflect.DeepEqual(s.Routes[0].Results, want) {
			t.Errorf("results %v; want %v", s.Routes[0].Results, want)
		}
		want = map[string]uint64{"refused": 2, "failed": 2, "fault": 2}
		if !reflect.DeepEqual(s.Routes[0].Refused, want) {
			t.Errorf("refused %v; want %v", s.Routes[0].Refused, want)
		}
		want = map[string]uint64{"push": 0, "subscribe": 2, "unsubscribe": 0, "meta": 2, "close": 2, "reply": 4}
		if !reflect.DeepEqual(s.Commands, want) || s.CommandsFailed != 2 || s.Faults != 2 || s.Unmatched != 0 {
			t.Errorf("commands %v; want %v; %d failed, %d faults", s.Commands, want, s.CommandsFailed, s.Faults)
		}
		if got := n.of("broken"); !slices.Equal(got, []string{"ack 1 text x", "ack 1 text x"}) { // nothing after the command that failed
			t.Errorf("%q", got)
		}
	})
}

// The body of an answer to a disconnect is for nobody; its commands are carried out,
// as those to other events are.
func TestAnswersToOtherEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		say := func(c *webhook.Call) (*webhook.Answer, error) { return ok("text/plain", "hello") }
		b := &backend{answer: func(c *webhook.Call) (*webhook.Answer, error) { return say(c) }}
		n := newNode()
		g := start(t, n, Options{Routes: []Route{{Backend: b, Events: []Kind{Connect, Disconnect}}}})
		defer stop(g)
		c := client(g, "s")
		g.Opened(c)
		g.Closed(c, session.ReasonClient, 0)
		synctest.Wait()
		if got := n.of("s"); !slices.Equal(got, []string{"text hello"}) {
			t.Errorf("%q", got)
		}
		say = commands(`{"type":"push","to":{"topic":"news"},"data":"x"},{"type":"reply","data":"y"}`)
		g.Opened(c)
		g.Closed(c, session.ReasonClient, 0)
		synctest.Wait()
		if got, bus := n.of("s"), n.of("bus"); len(got) != 1 || len(bus) != 2 {
			t.Errorf("%q to the session, %q to others", got, bus)
		}
		if s := g.Stats().Routes[0]; s.Results["empty"] != 1 || s.Results["pushed"] != 1 || s.Results["commands"] != 2 {
			t.Errorf("%v", s.Results)
		}
	})
}

// failing is a backend whose URLs are left alone.
type failing struct {
	backend
	open   int
	closed bool
}

func (b *failing) Stats() webhook.Stats { return webhook.Stats{URLs: 2, Open: b.open} }
func (b *failing) Close()               { b.closed = true }
func (b *failing) Refuse() bool         { return false }

// A route whose backend has no URL that works makes the gateway degraded; one URL is
// enough. A shutdown closes the backends.
func TestDegradedByABreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &failing{open: 1}
		g := start(t, newNode(), Options{Routes: []Route{{Name: "r", Backend: b}}})
		if got := g.Degraded(); len(got) != 0 {
			t.Errorf("one of two: %q", got)
		}
		b.open = 2
		if got := g.Degraded(); !slices.Equal(got, []string{"gateway: the backend of route r fails"}) {
			t.Errorf("two of two: %q", got)
		}
		if g.Shutdown(context.Background()); !b.closed {
			t.Error("the backend is not closed")
		}
	})
}

// Dropped events are reported for a minute, no longer.
func TestDegradedForAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) { return status(500, "", "") }}
		g := start(t, newNode(), Options{Routes: []Route{{Name: "r", Backend: b, Events: []Kind{Connect}}}})
		defer stop(g)
		g.Opened(client(g, "s"))
		synctest.Wait()
		for _, tc := range []struct {
			after time.Duration
			want  int
		}{{degradedFor - time.Second, 1}, {2 * time.Second, 0}} {
			time.Sleep(tc.after)
			if got := g.Degraded(); len(got) != tc.want {
				t.Errorf("%v later: %q", tc.after, got)
			}
		}
	})
}

// The minute begins when an event is dropped, however long it has waited before.
func TestDegradedSinceTheDrop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &backend{answer: func(*webhook.Call) (*webhook.Answer, error) {
			time.Sleep(degradedFor)
			return status(500, "", "")
		}}
		g := start(t, newNode(), Options{Routes: []Route{{Name: "r", Backend: b, Events: []Kind{Connect}, InFlight: 1}}})
		defer stop(g)
		for i := range 3 {
			g.Opened(client(g, fmt.Sprint("s", i)))
		}
		for i := range 3 {
			time.Sleep(degradedFor + time.Second)
			synctest.Wait()
			if got := g.Degraded(); len(got) != 1 {
				t.Errorf("a second after drop %d: %q", i+1, got)
			}
		}
	})
}

// The first of "reason", "message" and "error" that is a text is what a client is told.
func TestReasons(t *testing.T) {
	for body, want := range map[string]string{
		`{"error":"e","message":"m","reason":"r"}`:            "r",
		`{"error":"e","message":"m","reason":7}`:              "m",
		`{"error":"e"}`:                                       "e",
		`{"error":{"text":"e"}}`:                              "",
		`["reason"]`:                                          "",
		`{"reason":"` + strings.Repeat("x", maxReason) + `"}`: strings.Repeat("x", maxReason),
		`{"reason":"a\u0000b"}`:                               "",
	} {
		a, _ := ok("application/json", body)
		if got := reasonOf(a); got != want {
			t.Errorf("%s: %q; want %q", body, got, fmt.Sprint(want))
		}
	}
}
