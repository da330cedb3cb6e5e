package session

import (
	"slices"
	"strings"
	"testing"

	"belfry/message"
	"belfry/ws"
)

// openRule is the hint that a refused name comes with.
const openRule = "in a query + is a space and %2B a plus"

// openCases are queries and what Open makes of them.
var openCases = []struct {
	query  string
	proven bool // uids are not believed
	uid    string
	topics []string
	status int
	cause  ws.Cause
	says   string
}{
	{"", false, "", nil, 0, "", ""},
	{"uid=ann&topic=news&topic=a.b", false, "ann", []string{"news", "a.b"}, 0, "", ""},
	{"token=x&v=1&user=bob&&=y&flag", true, "", nil, 0, "", ""},
	{"Uidx=1&topics=secret", true, "", nil, 0, "", ""},
	{"uid=a+b%2Bc", false, "a b+c", nil, 0, "", ""},

	{"uid=ann&uid=bob", false, "", nil, 400, CauseUID, "uid: the parameter is repeated"},
	{"uid=ann&topic=news&uid=ann", false, "", nil, 400, CauseUID, "uid: the parameter is repeated"},
	{"uid=", false, "", nil, 400, CauseUID, "uid: 0 bytes"},
	{"uid", false, "", nil, 400, CauseUID, openRule},
	{"uid=a%0a", false, "", nil, 400, CauseUID, openRule},
	{"uid=%ff", false, "", nil, 400, CauseUID, "UTF-8"},
	{"uid=ann", true, "", nil, 401, CauseUID, "needs proof"},
	{"UID=ann", false, "", nil, 400, CauseUID, "UID: the parameter for a user id is uid"},
	{"Uid=ann", true, "", nil, 400, CauseUID, "Uid: "},
	{"%55id=ann", false, "", nil, 400, CauseUID, "Uid: "},

	{"Topic=news", false, "", nil, 400, CauseTopic, "Topic: the parameter for a topic is topic"},
	{"topic=news&TOPIC=news", false, "", nil, 400, CauseTopic, "TOPIC: "},
	{"topic=a+b", false, "", nil, 400, CauseTopic, openRule},
	{"topic=", false, "", nil, 400, CauseTopic, "topic: 0 bytes"},
	{"topic=secret", false, "", nil, 403, CauseTopic, `"secret" is not open`},
	{"topic=news&topic=secret&uid=a&uid=b", false, "", nil, 403, CauseTopic, "secret"}, // the first fault
}

// TestOpen has the parameters of the query read by the letter.
func TestOpen(t *testing.T) {
	rules, err := message.CompilePatterns([]string{"news", "a.b"})
	if err != nil {
		t.Fatal(err)
	}
	h, err := ws.NewParser(ws.ParserOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range openCases {
		a := &Open{Unproven: !tt.proven, Topics: rules}
		req, _, refusal := h.Parse(request("/ws?"+tt.query, ""))
		if refusal != nil {
			t.Fatal(refusal)
		}
		g, refusal, pending := a.Authenticate(&Attempt{Request: req}, nil)
		if pending {
			t.Errorf("%s: pending", tt.query)
		}
		if tt.status == 0 {
			if refusal != nil || g.UID != tt.uid || !slices.Equal(g.Topics, tt.topics) {
				t.Errorf("%s: %+v, %v; want %q, %q", tt.query, g, refusal, tt.uid, tt.topics)
			}
			continue
		}
		if refusal == nil || refusal.Status != tt.status || refusal.Cause != tt.cause || !strings.Contains(refusal.Detail, tt.says) {
			t.Errorf("%s: %v (%+v); want %d, %v, %q", tt.query, refusal, g, tt.status, tt.cause, tt.says)
		}
	}
}
