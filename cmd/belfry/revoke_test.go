package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/gorilla/websocket"
)

// tokenOf signs a token that was issued some time ago.
func tokenOf(t *testing.T, uid string, age time.Duration) string {
	t.Helper()
	now := time.Now()
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{"sub": uid, "iat": now.Add(-age).Unix(), "exp": now.Add(time.Hour).Unix()}).
		SignedString([]byte(revokeSecret))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

const revokeSecret = "0123456789abcdef0123456789abcdef"

// holder is a belfry.v1 client with a token.
type holder struct {
	sid   string
	ended chan int // gets the close code
}

// hold connects with a token. code is the close code if the token is refused.
func (n *clusterNode) hold(token string) (h *holder, code int) {
	n.t.Helper()
	dialer := websocket.Dialer{Subprotocols: []string{"belfry.v1"}, HandshakeTimeout: waitLimit}
	conn, resp, err := dialer.Dial("ws://"+n.Listen[0]+"/ws", http.Header{"Authorization": {"Bearer " + token}})
	if err != nil {
		n.t.Fatalf("%v%s", err, answered(resp))
	}
	n.t.Cleanup(func() { conn.Close() })
	h = &holder{ended: make(chan int, 1)}
	for {
		_, text, err := conn.ReadMessage()
		if closed, ok := err.(*websocket.CloseError); ok {
			return nil, closed.Code
		} else if err != nil {
			n.t.Fatal(err)
		}
		var hello struct{ Type, Session string }
		if err := json.Unmarshal(text, &hello); err != nil {
			n.t.Fatal(err)
		}
		if hello.Type == "hello" {
			h.sid = hello.Session
			break
		}
	}
	go func() {
		for {
			if _, _, err := conn.ReadMessage(); err != nil {
				code := 0
				if closed, ok := err.(*websocket.CloseError); ok {
					code = closed.Code
				}
				h.ended <- code
				return
			}
		}
	}()
	return h, 0
}

// mustHold is hold for a token that is valid.
func (n *clusterNode) mustHold(token string) *holder {
	n.t.Helper()
	h, code := n.hold(token)
	if h == nil {
		n.t.Fatalf("refused with %d", code)
	}
	return h
}

func (h *holder) wantEnd(t *testing.T, who string) {
	t.Helper()
	select {
	case code := <-h.ended:
		if code != 4010 {
			t.Errorf("%s was closed with %d; want 4010", who, code)
		}
	case <-time.After(waitLimit):
		t.Errorf("%s was not closed", who)
	}
}

func (n *clusterNode) wantChange(path, body string, status int, answer string) {
	n.t.Helper()
	if got, text := n.post(path, body); got != status || !strings.HasPrefix(text, answer) {
		n.t.Errorf("%s %s: %d %s; want %d %s", path, body, got, text, status, answer)
	}
}

// What one node is told about sessions, all do: also one that starts later, and the
// answer names one that is dead.
func TestRevocationsInACluster(t *testing.T) {
	t.Parallel()
	server := startNATS(t)
	start := func(name string) *clusterNode {
		return startClusterNode(t, name, "--nats-url", server.url(), "--set", "auth.jwt.secret="+revokeSecret, "--set", "api.nodes_wait=5s")
	}
	a, b := start("a"), start("b")
	for _, n := range []*clusterNode{a, b} {
		soon(t, "peers", func() bool { return n.metric("belfry_bus_peers") == 1 })
		soon(t, "ready", func() bool { status, _ := n.readiness(); return status == http.StatusOK })
	}
	old, fresh := tokenOf(t, "ann", 20*time.Second), tokenOf(t, "ann", 0)
	atA, atB := a.mustHold(old), b.mustHold(old)
	a.wantChange("/v1/users/ann/permissions", `{"subscribe":["x"],"publish":[]}`, 200, `{"sessions":2,"nodes":2}`)
	a.wantChange("/v1/users/ann/permissions", `{"subscribe":["x*"],"publish":[]}`, 400, `{"type":"urn:belfry:problem:invalid-field"`)
	a.wantChange("/v1/sessions/"+atB.sid+"/auth", `{"expire":true}`, 200, `{"sessions":1,"nodes":1}`)
	atB.wantEnd(t, "the session at b")
	atB = b.mustHold(old) // its token is still valid

	newer := b.mustHold(fresh)
	before := fmt.Sprintf(`{"issued_before":%d}`, time.Now().Add(-10*time.Second).Unix())
	b.wantChange("/v1/users/ann/expire", before, 200, `{"sessions":2,"nodes":2}`)
	atA.wantEnd(t, "ann at a")
	atB.wantEnd(t, "ann at b")
	for _, n := range []*clusterNode{a, b} {
		if _, code := n.hold(old); code != 4401 {
			t.Errorf("the revoked token gets %d; want 4401", code)
		}
		n.mustHold(fresh)
		n.mustHold(tokenOf(t, "bob", 20*time.Second))
	}
	select {
	case code := <-newer.ended:
		t.Errorf("a session with a newer token was closed with %d", code)
	default:
	}

	c := start("c")
	soon(t, "c is ready", func() bool { status, _ := c.readiness(); return status == http.StatusOK })
	if n := c.metric("belfry_revoked_users"); n != 1 {
		t.Errorf("c is ready and knows %v revocations", n)
	}
	if _, code := c.hold(old); code != 4401 {
		t.Errorf("at a node that started later the revoked token gets %d; want 4401", code)
	}
	soon(t, "a knows c", func() bool { return a.metric("belfry_bus_peers") == 2 })
	bob := c.mustHold(tokenOf(t, "bob", 20*time.Second))
	a.wantChange("/v1/tokens/expire", before, 200, `{"sessions":3,"nodes":3}`)
	bob.wantEnd(t, "bob at c")

	c.kill()
	begun := time.Now()
	a.wantChange("/v1/users/ann/expire", "", 202, `{"sessions":3,"nodes":2,"failed":[{"node":"c","detail":"no answer in time"}]}`)
	if took := time.Since(begun); took < 4*time.Second {
		t.Errorf("the dead node was not awaited: %v", took)
	}
	a.wantChange("/v1/users/ann/expire", fmt.Sprintf(`{"issued_before":%d}`, time.Now().Add(time.Hour).Unix()), 400, `{"type":"urn:belfry:problem:invalid-field"`)
}
