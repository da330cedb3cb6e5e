package config

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"
)

const routesFile = `gateway:
  signing_keys: [whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw]
  routes:
    - name: orders
      url: http://user:secret@127.0.0.1:9000/orders
      events: [message]
      timeout: 1s
      idempotent: true
      retries: 2
      match: {field: event, value: orders.*}
    - name: rest
      urls: [http://a, https://b/x]
`

func TestMappings(t *testing.T) {
	l := newLoader()
	l.file("belfry.yaml", []byte(routesFile))
	loaded, err := l.finish()
	if err != nil {
		t.Fatal(err)
	}
	routes := loaded.Gateway.Routes
	if len(routes) != 2 {
		t.Fatalf("%d routes", len(routes))
	}
	first, second := routes[0], routes[1]
	if first.Timeout != time.Second || first.Match.Field != "event" || first.Match.Value != "orders.*" || first.Retries != 2 || first.InFlight != 256 {
		t.Errorf("%+v", first)
	}
	if !reflect.DeepEqual(second.Events, []string{"message"}) || second.Timeout != 5*time.Second || len(second.Backends()) != 2 {
		t.Errorf("%+v", second)
	}

	// The same from a variable, and from what config print writes.
	var out bytes.Buffer
	if err := loaded.Print(&out, nil, nil, true); err != nil {
		t.Fatal(err)
	}
	again, err := loadText(out.String())
	if err != nil {
		t.Fatalf("%v in\n%s", err, &out)
	}
	if !reflect.DeepEqual(again.Gateway, loaded.Gateway) {
		t.Errorf("printed and read:\n%+v\nwant\n%+v", again.Gateway, loaded.Gateway)
	}
	l = newLoader()
	l.environment([]string{`BELFRY_GATEWAY_ROUTES=[{name: a, url: "http://x", in_flight: 3}]`})
	env, err := l.finish()
	if err != nil || len(env.Gateway.Routes) != 1 || env.Gateway.Routes[0].InFlight != 3 || env.Gateway.Routes[0].Queue != 65536 {
		t.Errorf("%v, %+v", err, env)
	}

	// Passwords are shown nowhere.
	out.Reset()
	if err := loaded.Print(&out, nil, nil, false); err != nil {
		t.Fatal(err)
	}
	shown, err := json.Marshal(loaded.Show(nil))
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{out.String(), string(shown)} {
		if strings.Contains(text, "secret@") || strings.Contains(text, "MfKQ9r8") || !strings.Contains(text, "orders.*") {
			t.Errorf("shown:\n%s", text)
		}
	}
}

func loadText(text string) (*Loaded, error) {
	l := newLoader()
	l.file("belfry.yaml", []byte(text))
	return l.finish()
}

// Every error names the route's place and the field.
func TestMappingsRefused(t *testing.T) {
	for _, tc := range []struct{ routes, want string }{
		{`[{name: a}]`, "belfry.yaml:1:20: gateway.routes[0].url: route a has neither url nor urls"},
		{`[{url: http://x}]`, "gateway.routes[0].name: 0 characters"},
		{`[{name: a b, url: http://x}]`, `gateway.routes[0].name: "a b"`},
		{`[{name: a, url: http://x}, {name: a, url: http://y}]`, `gateway.routes[1].name: "a" is the name of another route`},
		{`[{name: a, url: http://x, timeout: 11m}]`, "belfry.yaml:1:54: gateway.routes[0].timeout: 11m; allowed are 1ms to 10m"},
		{`[{name: a, url: http://x, timeout: soon}]`, `gateway.routes[0].timeout: "soon" is not a duration`},
		{`[{name: a, url: http://x, time_out: 1s}]`, "gateway.routes[0].time_out: no such setting; did you mean gateway.routes[0].timeout?"},
		{`[{name: a, url: http://x, match: {fild: x}}]`, "did you mean gateway.routes[0].match.field?"},
		{`[{name: a, url: http://x, match: 7}]`, "gateway.routes[0].match: settings are wanted here"},
		{`[{name: a, url: http://x, on_error: shout}]`, `gateway.routes[0].on_error: "shout"; allowed are drop, close or text`},
		{`[{name: a, url: http://x, events: [open]}]`, `gateway.routes[0].events: "open" in route a; allowed are connect`},
		{`[{name: a, url: http://x, events: []}]`, `gateway.routes[0].events: route a has none`},
		{`[{name: a, url: "ftp://u:pw@x"}]`, `gateway.routes[0].url: the scheme "ftp"`},
		{`[{name: a, url: "http://"}]`, `gateway.routes[0].url: not a URL; allowed are http://host/path`},
		{`[{name: a, url: http://x, urls: [http://y]}]`, `gateway.routes[0].urls: route a has url and urls`},
		{`[{name: a, url: http://x, retries: 2}]`, `gateway.routes[0].retries: 2 in route a, which is not idempotent`},
		{`[{name: a, url: http://x, delivery: at_least_once}]`, `gateway.routes[0].delivery: at_least_once in route a`},
		{`[{name: a, url: http://x, match: {value: x}}]`, `gateway.routes[0].match.value: needs match.field`},
		{`[{name: a, url: http://x, match: {uid: "a*b"}}]`, `gateway.routes[0].match.uid: "a*b" in route a; a * is allowed only at the end`},
		{`[{name: a, url: http://x, match: {topic: "a*"}}]`, `gateway.routes[0].match.topic: "a*" in route a; allowed are a topic`},
		{`[{name: a, url: http://x, match: {topic: "a."}}]`, `gateway.routes[0].match.topic: "a." in route a; allowed are a topic`},
		{`[{name: a, url: http://x, events: [message, connect], match: {event: x}}]`, `gateway.routes[0].match.event: of route a is for messages`},
		{`[{name: a, url: http://x, events: [disconnect], match: {topic: x}}]`, `gateway.routes[0].match.topic: of route a never matches disconnect`},
		{`[{name: a, url: http://x, path: chat}]`, `gateway.routes[0].path: "chat" in route a`},
		{`[{name: a, name: b, url: http://x}]`, `gateway.routes[0].name: set twice`},
		{`[a]`, `gateway.routes[0]: settings are wanted here`},
		{`a`, `gateway.routes: [0]: settings are wanted here`},
		{`"[{"`, `gateway.routes: a list of mappings is wanted`},
	} {
		_, err := loadText("gateway: {routes: " + tc.routes + "}\n")
		if err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v; want %q", tc.routes, err, tc.want)
		}
		if err != nil && strings.Contains(strings.Split(err.Error(), "\n")[0], "pw") {
			t.Errorf("%s: the error has the password: %v", tc.routes, err)
		}
	}
	l := newLoader()
	l.environment([]string{`BELFRY_GATEWAY_ROUTES=[{name: a, url: "http://u:pw@x", retries: many}]`})
	_, err := l.finish()
	if err == nil || !strings.Contains(err.Error(), `BELFRY_GATEWAY_ROUTES: gateway.routes: [0].retries: "many" is not a whole number`) {
		t.Errorf("variable: %v", err)
	}
}

// The tags of items follow the rules of TestTags.
func TestItemTags(t *testing.T) {
	c := Default()
	found := 0
	for _, list := range c.Settings() {
		if !list.Mappings() {
			continue
		}
		for _, s := range list.itemSettings() {
			found++
			if !strings.HasSuffix(s.Doc, ".") {
				t.Errorf("%s: doc %q is not a sentence", s.Path, s.Doc)
			}
			if strings.Trim(s.Path, "abcdefghijklmnopqrstuvwxyz_.") != "" {
				t.Errorf("path %q is not lower-case words", s.Path)
			}
			switch s.Type() {
			case "duration", "size", "integer":
				if lo, hi := s.bounds(); lo < 1 || hi < lo {
					t.Errorf("%s: range %q; 0 belongs into the zero tag", s.Path, s.rng)
				}
			}
			if err := s.check(); err != nil {
				t.Errorf("%s: default: %v", s.Path, err)
			}
		}
	}
	if found < 20 {
		t.Errorf("%d fields only", found)
	}
}
