package push

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"belfry/broadcast"
	"belfry/broadcast/fakebus"
	"belfry/message"
	"belfry/report"
)

// onlyNode is a node without others and without sessions, and its reporter.
func onlyNode(t *testing.T, o report.Options) (*broadcast.Node, *report.Reporter) {
	t.Helper()
	node, err := broadcast.Open(broadcast.Options{NodeName: "a", Bus: new(fakebus.Network).Join("a")})
	if err != nil {
		t.Fatal(err)
	}
	o.Self, o.Bus, o.Control = broadcast.Peer{ID: node.NodeID(), Name: "a"}, node, node.Control()
	r := report.New(o)
	node.Start(fakebus.Nowhere{})
	t.Cleanup(func() {
		r.Close()
		node.Close()
	})
	return node, r
}

const noSessions = `"sessions":0,"written":0,"queued":0,"bridged":0,"dropped":{"backlog":0,"closed":0}`

// A push with wait is answered with what became of it, one without as ever.
func TestPushWithWait(t *testing.T) {
	node, reports := onlyNode(t, report.Options{})
	_, ts, _ := start(t, Options{Publisher: node, Reports: reports})
	if a := post(t, ts, "/v1/all", "x"); a.StatusCode != 202 || !strings.HasPrefix(a.body, `{"id":"`) || strings.Contains(a.body, ",") {
		t.Errorf("without wait: %d %s", a.StatusCode, a.body)
	}
	a := post(t, ts, "/v1/users/u1?wait=1s&ack=1", "x")
	var got struct{ ID string }
	if err := json.Unmarshal([]byte(a.body), &got); err != nil || got.ID == "" {
		t.Fatal(a.body, err)
	}
	ack := `,"ack":{"asked":0,"acknowledged":0,"unacknowledgeable":0}`
	want := `{"id":"` + got.ID + `",` + noSessions + ack + `,"offline":true,"complete":true,"nodes":[{"node":"a",` + noSessions + ack + `}]}` + "\n"
	if a.StatusCode != 200 || a.body != want || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %v\ngot  %s\nwant %s", a.StatusCode, a.Header, a.body, want)
	}
}

// A push for whose report there is no place is refused, and so is a line of a batch.
func TestTooManyWaits(t *testing.T) {
	node, reports := onlyNode(t, report.Options{MaxWaits: 1})
	_, ts, _ := start(t, Options{Publisher: node, Reports: reports})
	p, _, err := reports.Publish(t.Context(), &message.Message{Target: message.ToAll()}, message.Wait{}, report.Query{Wait: report.MaxWait})
	if err != nil {
		t.Fatal(err)
	}
	refused := post(t, ts, "/v1/all?wait=1s", "x").problem(t)
	if refused.Status != http.StatusServiceUnavailable || refused.Type != CauseOverloaded.Type() || !strings.Contains(refused.Detail, "api.max_waits") {
		t.Errorf("%+v", refused)
	}
	lines := `{"to":{"all":true},"text":"x","wait":"1s"}` + "\n" + `{"to":{"all":true},"text":"x"}` + "\n" + `{"to":{"all":true},"text":"x","wait":1}`
	a := parseAnswers(t, post(t, ts, "/v1/batch", lines).body)
	if len(a) != 3 || a[0].Error.Status != 503 || a[1].ID == "" || a[2].Error.Field != "wait" {
		t.Errorf("%+v", a)
	}
	p.Await(context.Background(), nil)
	if a := post(t, ts, "/v1/batch", lines[:strings.Index(lines, "\n")]); !strings.Contains(a.body, `{"line":1,"id":"`) || !strings.Contains(a.body, `","sessions":0,`) {
		t.Error(a.body)
	}
}
