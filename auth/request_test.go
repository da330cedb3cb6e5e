package auth

import (
	"bytes"
	"net/http"
	"slices"
	"strings"
	"testing"

	"belfry/session"
	"belfry/ws"
)

const jwtLike = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"

func TestReadRequest(t *testing.T) {
	for _, tt := range []struct {
		name, target, header string
		token                string
		topics               []string
		status               int
		cause                ws.Cause
		says                 string
	}{
		{name: "nothing", target: "/ws"},
		{name: "topics", target: "/ws?topic=a&topic=b.c", topics: []string{"a", "b.c"}},
		{name: "header", target: "/ws", header: "Authorization: Bearer abc\r\n", token: "abc"},
		{name: "header in another case", target: "/ws", header: "authorization:  bEARER  abc \r\n", token: "abc"},
		{name: "another scheme", target: "/ws", header: "Authorization: Basic abc\r\n"},
		{name: "a longer scheme", target: "/ws", header: "Authorization: Bearerx abc\r\n"},
		{name: "query", target: "/ws?token=abc&topic=a", token: "abc", topics: []string{"a"}},
		{name: "cookie", target: "/ws", header: "Cookie: a=1; auth=abc; xauth=2\r\n", token: "abc"},
		{name: "cookie in quotes", target: "/ws", header: "Cookie: auth=\"abc\"\r\n", token: "abc"},
		{name: "another cookie", target: "/ws", header: "Cookie: Auth=abc; authx=abc; auth\r\n"},
		{name: "subprotocol", target: "/ws", header: "Sec-WebSocket-Protocol: belfry.v1, " + jwtLike + "\r\n", token: jwtLike},
		{name: "subprotocol first", target: "/ws", header: "Sec-WebSocket-Protocol: " + jwtLike + ", belfry.plain\r\n", token: jwtLike},
		{name: "two lines", target: "/ws", header: "Sec-WebSocket-Protocol: " + jwtLike + "\r\nSec-WebSocket-Protocol: belfry.plain\r\n", token: jwtLike},
		{name: "subprotocol with a prefix", target: "/ws", header: "Sec-WebSocket-Protocol: belfry.plain,bearer.abc\r\n", token: "abc"},
		{name: "a token without a signature", target: "/ws", header: "Sec-WebSocket-Protocol: belfry.plain, eyJhbGciOiJub25lIn0.e30.\r\n", token: "eyJhbGciOiJub25lIn0.e30."},
		{name: "names with dots", target: "/ws", header: "Sec-WebSocket-Protocol: wamp.2.json, ocpp2.0.1, v1.kubernetes.io, example.a.b, ex.a.b\r\n"},
		{name: "the same token in two places", target: "/ws?token=abc", header: "Authorization: Bearer abc\r\n", token: "abc"},

		{name: "different tokens", target: "/ws?token=abc", header: "Authorization: Bearer abd\r\n", status: 400, cause: session.CauseTokenPlace, says: "Authorization: Bearer and ?token= carry different tokens"},
		{name: "different headers", target: "/ws", header: "Authorization: Bearer a\r\nAuthorization: Bearer b\r\n", status: 400, cause: session.CauseTokenPlace},
		{name: "different cookies", target: "/ws", header: "Cookie: auth=a; auth=b\r\n", status: 400, cause: session.CauseTokenPlace, says: "the cookie auth"},
		{name: "different parameters", target: "/ws?token=a&token=b", status: 400, cause: session.CauseTokenPlace},
		{name: "different subprotocols", target: "/ws", header: "Sec-WebSocket-Protocol: belfry.v1, bearer.a, bearer.b\r\n", status: 400, cause: session.CauseTokenPlace},
		{name: "a token alone", target: "/ws", header: "Sec-WebSocket-Protocol: " + jwtLike + "\r\n", status: 400, cause: session.CauseTokenPlace, says: "offer belfry.plain or belfry.v1 beside it"},
		{name: "a token beside a name that is not served", target: "/ws", header: "Sec-WebSocket-Protocol: chat, bearer.a\r\n", status: 400, cause: session.CauseTokenPlace, says: "beside it"},
		{name: "an empty token", target: "/ws?token=", status: 401, cause: session.CauseTokenMissing, says: "empty in ?token="},
		{name: "an empty header", target: "/ws", header: "Authorization: Bearer\r\n", status: 401, cause: session.CauseTokenMissing},
		{name: "an empty cookie", target: "/ws", header: "Cookie: auth=\r\n", status: 401, cause: session.CauseTokenMissing},
		{name: "too long", target: "/ws?token=" + strings.Repeat("x", 4097), status: 401, cause: session.CauseTokenSize, says: "auth.max_token"},
		{name: "a wrong topic", target: "/ws?token=abc&topic=a..b", status: 400, cause: session.CauseTopic, says: "topic"},
		{name: "a uid beside a token", target: "/ws?token=abc&uid=ann", status: 400, cause: session.CauseUID, says: "the token says who the user is"},
		{name: "another case", target: "/ws?Token=abc", status: 400, cause: session.CauseTokenPlace, says: "the parameter is token, in lower case"},
		{name: "a topic in another case", target: "/ws?TOPIC=abc", status: 400, cause: session.CauseTopic, says: "lower case"},
	} {
		q, refusal := readRequest(attempt(t, tt.target, tt.header).Request, "auth", 4096)
		outcome{refusal: refusal}.expect(t, tt.name, tt.status, tt.cause, tt.says)
		if tt.status == 0 && (string(q.token) != tt.token || (q.place != "") != (tt.token != "") || !slices.Equal(q.topics, tt.topics)) {
			t.Errorf("%s: %q in %q, %q; want %q, %q", tt.name, q.token, q.place, q.topics, tt.token, tt.topics)
		}
	}
}

// Without a setting for it, no cookie is read.
func TestNoCookie(t *testing.T) {
	q, refusal := readRequest(attempt(t, "/ws", "Cookie: =abc; auth=abc\r\n").Request, "", 4096)
	if refusal != nil || q.place != "" {
		t.Errorf("%q, %v", q.token, refusal)
	}
}

// FuzzReadRequest compares what is found in a request with what net/http finds, where
// net/http has an opinion: the header, the query and the cookie.
func FuzzReadRequest(f *testing.F) {
	f.Add("token=abc&topic=a", "Bearer abc", "auth=abc", "belfry.v1, bearer.abc")
	f.Add("token=%61&token=a", "bearer  a", "auth=\"a\"; auth=a", "belfry.plain,"+jwtLike)
	f.Add("Token=a", "Basic a", "x; auth=; =", jwtLike)
	f.Fuzz(func(t *testing.T, query, authorization, cookie, protocols string) {
		for _, value := range []string{authorization, cookie, protocols} {
			if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r > '~' }) {
				t.Skip()
			}
		}
		p, _ := ws.NewParser(ws.ParserOptions{MaxHead: 64 << 10})
		head := "GET /ws?" + query + " HTTP/1.1\r\nHost: a\r\nAuthorization: " + authorization + "\r\nCookie: " + cookie + "\r\nSec-WebSocket-Protocol: " + protocols + "\r\n\r\n"
		r, _, refusal := p.Parse([]byte(head))
		if refusal != nil || r == nil {
			t.Skip()
		}
		if _, refusal := r.ChooseSubprotocol([]string{"belfry.v1", "belfry.plain"}); refusal != nil {
			t.Skip()
		}
		q, refusal := readRequest(r, "auth", 100)
		if refusal != nil {
			if refusal.Status < 400 || refusal.Cause == "" || strings.ContainsAny(refusal.Detail, "\r\n") {
				t.Fatalf("%+v", refusal)
			}
			return
		}
		if (q.place == "") != (len(q.token) == 0) || len(q.token) > 100 {
			t.Fatalf("%q in %q", q.token, q.place)
		}
		std, err := http.ReadRequest(bufioReader(head))
		if err != nil {
			return
		}
		// A request that is not refused carries one token: that of each place.
		if q.place == "" && (slices.ContainsFunc(std.URL.Query()["token"], func(v string) bool { return true }) && !strings.Contains(query, ";")) {
			t.Fatalf("the token of %q was not found", query)
		}
		for _, v := range std.URL.Query()["token"] {
			if v != string(q.token) && !strings.Contains(query, ";") {
				t.Fatalf("%q, but the query has %q", q.token, v)
			}
		}
		if c, err := std.Cookie("auth"); err == nil && c.Value != string(q.token) && !strings.Contains(cookie, `"`) {
			t.Fatalf("%q, but the cookie is %q", q.token, c.Value)
		}
		for _, offer := range strings.Split(protocols, ",") {
			if offer = strings.Trim(offer, " \t"); strings.HasPrefix(offer, "bearer.") && offer != "bearer."+string(q.token) {
				t.Fatalf("%q, but %q is offered", q.token, offer)
			}
		}
		if q.place != "" && !bytes.Contains([]byte(head), q.token) && !strings.ContainsAny(query, "%+") {
			t.Fatalf("%q is not in the request", q.token)
		}
	})
}
