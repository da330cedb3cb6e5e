package gateway

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"belfry/session"
	"belfry/webhook"
)

const unavailable = "err 1 unavailable: the backend cannot be reached or has failed; try again"

// Every message of a client that awaits an answer gets exactly one, whatever happens.
func TestOneAnswer(t *testing.T) {
	send := &session.Inbound{Answered: true, Payload: []byte("x")}
	for _, tc := range []struct {
		name   string
		in     *session.Inbound
		answer func(*webhook.Call) (*webhook.Answer, error)
		want   []string
	}{
		{"text", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return ok("text/plain; charset=utf-8", "a") }, []string{"ack 1 text a"}},
		{"JSON", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return ok("Application/JSON", `{"a":1}`) }, []string{`ack 1 text {"a":1} (JSON)`}},
		{"bytes", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return ok("image/png", "\x89P") }, []string{"ack 1 binary \x89P"}},
		{"text that is not UTF-8", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return ok("text/plain", "\xff") }, []string{"ack 1 binary \xff"}},
		{"no type", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return ok("", "a") }, []string{"ack 1 text a"}},
		{"nothing", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return ok("text/plain", "") }, []string{"ack 1"}},
		{"send", send, func(*webhook.Call) (*webhook.Answer, error) { return ok("text/plain", "a") }, []string{"text a", "ack "}},
		{"send and nothing", send, func(*webhook.Call) (*webhook.Answer, error) { return &webhook.Answer{Status: 204}, nil }, []string{"ack "}},
		{"send refused", send, func(*webhook.Call) (*webhook.Answer, error) { return status(400, "text/plain", "bad order\n") }, []string{"err  refused: bad order"}},
		{"403", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return status(403, "text/html", "<h1>no</h1>") }, []string{"err 1 refused: the backend has refused the message"}},
		{"404 in JSON", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) {
			return status(404, "application/problem+json", `{"statusCode":404,"message":"no such order","error":"Not Found"}`)
		}, []string{"err 1 refused: no such order"}},
		{"long reason", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) {
			return status(400, "text/plain", strings.Repeat("x", maxReason+1))
		}, []string{"err 1 refused: the backend has refused the message"}},
		{"reason with control characters", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return status(400, "text/plain", "a\x1bb") }, []string{"err 1 refused: the backend has refused the message"}},
		{"429", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return status(429, "text/plain", "slow") }, []string{unavailable}},
		{"302", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return status(302, "", "") }, []string{unavailable}},
		{"500", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return status(500, "text/plain", "secret stack") }, []string{unavailable}},
		{"time-out", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return nil, webhook.ErrTimeout }, []string{unavailable}},
		{"breaker", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return nil, webhook.ErrOpen }, []string{unavailable}},
		{"connection", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return nil, errors.New("dial 10.0.0.1") }, []string{unavailable}},
		{"panic", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return nil, nil }, []string{"err 1 unavailable: a fault of the server; its log says more"}},
		{"10 MB", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return nil, webhook.ErrAnswerTooBig }, []string{"err 1 unavailable: the answer of the backend was not valid"}},
		{"commands", rpc("1", "x"), commands(`{"type":"subscribe","topic":"a"},{"type":"push","to":{"topic":"a"},"data":{"n":1}}`), []string{"subscribe [a]", "ack 1"}},
		{"commands with a reply", rpc("1", "x"), commands(`{"type":"reply","data":"r"},{"type":"push","data":"AP8=","binary":true},{"type":"reply","data":"again"}`), []string{"ack 1 text r", "binary \x00\xff"}},
		{"commands with a reply in JSON", rpc("1", "x"), commands(`{"type":"reply","data":[1]}`), []string{"ack 1 text [1] (JSON)"}},
		{"no commands", rpc("1", "x"), commands(``), []string{"ack 1"}},
		{"all commands", rpc("1", "x"), commands(`{"type":"unsubscribe","topics":["a","b"]},{"type":"meta","meta":{"n":1}},{"type":"meta","meta":null},{"type":"close","code":4501,"reason":"bye"}`),
			[]string{"unsubscribe [a b]", `meta {"n":1}`, "meta ", "close 4501 bye", "ack 1"}},
		{"a wrong command", rpc("1", "x"), commands(`{"type":"push","data":"a"},{"type":"psh"}`), []string{"err 1 unavailable: the answer of the backend was not valid"}},
		{"no JSON", rpc("1", "x"), func(*webhook.Call) (*webhook.Answer, error) { return ok(CommandsType, "x") }, []string{"err 1 unavailable: the answer of the backend was not valid"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newNode()
				g := start(t, n, Options{Routes: []Route{{Backend: &backend{answer: tc.answer}}}})
				defer stop(g)
				g.Received(client(g, "s"), tc.in)
				synctest.Wait()
				if got := n.of("s"); !slices.Equal(got, tc.want) {
					t.Errorf("%q; want %q", got, tc.want)
				}
			})
		})
	}
}

// commands returns a backend's answer with these commands.
func commands(list string) func(*webhook.Call) (*webhook.Answer, error) {
	return func(*webhook.Call) (*webhook.Answer, error) {
		return ok(CommandsType+"; charset=utf-8", `{"commands":[`+list+`]}`)
	}
}

// What a session has no room for becomes an error, and a command that fails ends the
// list. Nothing is said about a session that is gone.
func TestAnswersThatFail(t *testing.T) {
	for _, tc := range []struct {
		fail   string // "": the session is gone
		answer func(*webhook.Call) (*webhook.Answer, error)
		want   string
	}{
		{"reply", func(*webhook.Call) (*webhook.Answer, error) { return ok("text/plain", "x") }, "err 1 unavailable: the backend has answered, but"},
		{"reply", commands(`{"type":"reply","data":"x"},{"type":"push","data":"x"}`), "err 1 unavailable"},
		{"publish", commands(`{"type":"push","data":"x","to":{"all":true}},{"type":"push","data":"x"}`), "err 1 unavailable"},
		{"send", commands(`{"type":"push","data":"x"}`), "err 1 unavailable"},
		{"", commands(`{"type":"push","data":"x"},{"type":"reply","data":"x"}`), ""},
	} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode()
			n.fail[tc.fail], n.gone["s"] = true, tc.fail == ""
			g := start(t, n, Options{Routes: []Route{{Backend: &backend{answer: tc.answer}}}})
			defer stop(g)
			g.Received(client(g, "s"), rpc("1", "x"))
			synctest.Wait()
			if got := strings.Join(n.of("s"), " | "); !strings.HasPrefix(got, tc.want) || strings.Contains(got, "|") {
				t.Errorf("%s: %q", tc.fail, got)
			}
		})
	}
}

// What a plain client gets for a message that failed is a setting.
func TestPlainClients(t *testing.T) {
	for o, want := range []string{"", "close 4500 no", "text no"} {
		synctest.Test(t, func(t *testing.T) {
			n := newNode()
			g := start(t, n, Options{Routes: []Route{
				{OnError: OnError(o), Match: Match{Field: "a"}, Backend: &backend{answer: func(*webhook.Call) (*webhook.Answer, error) { return status(400, "text/plain", "no") }}},
			}})
			defer stop(g)
			c := client(g, "s")
			c.Encoding = "plain"
			g.Received(c, text(`{"a":"b"}`))
			g.Received(c, text("no route"))
			synctest.Wait()
			if got := strings.Join(n.of("s"), "; "); got != want {
				t.Errorf("%q; want %q", got, want)
			}
		})
	}
	// Its answer is a message, without an ack.
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		g := start(t, n, Options{Routes: []Route{{Backend: &backend{answer: func(c *webhook.Call) (*webhook.Answer, error) { return ok(c.ContentType, string(c.Body)) }}}}})
		defer stop(g)
		for _, payload := range []string{"hi", `{"a":1}`, `{"a":}`, "[1]", "["} {
			g.Received(client(g, "s"), text(payload))
		}
		synctest.Wait()
		if got := n.of("s"); !slices.Equal(got, []string{"text hi", `text {"a":1}`, `text {"a":}`, "text [1]", "text ["}) {
			t.Errorf("%q", got)
		}
	})
}

func TestNoRoute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		g := start(t, n, Options{Routes: []Route{{Backend: &backend{}, Match: Match{Event: "a"}}}})
		defer stop(g)
		g.Received(client(g, "s"), rpc("1", "x"))
		synctest.Wait()
		if got := n.of("s"); !slices.Equal(got, []string{"err 1 forbidden: no route of the gateway takes this message"}) {
			t.Errorf("%q", got)
		}
	})
}

// docs/protocol.md lists the codes that a client may get.
func TestCodesAreDocumented(t *testing.T) {
	protocol, err := os.ReadFile(filepath.Join("..", "docs", "protocol.md"))
	if err != nil {
		t.Fatal(err)
	}
	for why := causeNone + 1; why < causes; why++ {
		if code := codeOf(why); !strings.Contains(string(protocol), "\n| `"+code+"` | ") {
			t.Errorf("%s: no row of docs/protocol.md has the code %s", causeNames[why], code)
		}
	}
}
