package gateway

import (
	"encoding/json"
	"strings"
	"testing"

	"belfry/message"
)

func TestCommandsRefused(t *testing.T) {
	for body, want := range map[string]string{
		``:                      "not a JSON object",
		`[]`:                    "not a JSON object",
		`{}`:                    "commands: 0; a list",
		`{"commands":null}`:     "commands: must be a list",
		`{"commands":{}}`:       "commands: must be a list",
		`{"commands":[],"x":1}`: "x: unknown here",
		`{"commands":[7]}`:      "commands[0]: not a JSON object",
		`{"commands":[{}]}`:     `commands[0]: type: ""; allowed are push, subscribe, unsubscribe, meta, close, reply`,
		`{"commands":[{"type":"reply"},{"type":"pub"}]}`:                                  `commands[1]: type: "pub"`,
		`{"commands":[{"type":"push"}]}`:                                                  "commands[0]: data: missing",
		`{"commands":[{"type":"push","data":"a","too":1}]}`:                               "too: unknown here; allowed are type, to, key, data, binary",
		`{"commands":[{"type":"push","data":"a","to":{"topic":"a.*"}}]}`:                  "topic",
		`{"commands":[{"type":"push","data":"a","to":{"session":"x"}}]}`:                  "session",
		`{"commands":[{"type":"push","data":"a","to":{}}]}`:                               "to",
		`{"commands":[{"type":"push","data":"a","key":""}]}`:                              "key: 0 bytes",
		`{"commands":[{"type":"push","data":"a","binary":true}]}`:                         "data",
		`{"commands":[{"type":"push","data":"a","binary":1}]}`:                            "binary: must be true or false",
		`{"commands":[{"type":"push","data":"\ud800"}]}`:                                  "surrogate",
		`{"commands":[{"type":"subscribe"}]}`:                                             "topics: give either topic or topics",
		`{"commands":[{"type":"subscribe","topic":"a","topics":["b"]}]}`:                  "topics: give either",
		`{"commands":[{"type":"subscribe","topic":"a.>"}]}`:                               `topic: "a.>"`,
		`{"commands":[{"type":"unsubscribe","topics":[]}]}`:                               "topics: 0 names",
		`{"commands":[{"type":"meta","meta":[1]}]}`:                                       "meta: must be an object",
		`{"commands":[{"type":"meta"}]}`:                                                  "meta: must be an object",
		`{"commands":[{"type":"meta","meta":{"a":"` + strings.Repeat("x", 1024) + `"}}]}`: "meta: must be an object of at most 1024",
		`{"commands":[{"type":"close","code":4000}]}`:                                     "code: allowed are 1000",
		`{"commands":[{"type":"close","code":1006}]}`:                                     "code: allowed are 1000",
		`{"commands":[{"type":"close","code":"1000"}]}`:                                   "code: allowed are 1000",
		`{"commands":[{"type":"close","reason":"` + strings.Repeat("x", 121) + `"}]}`:     "reason: 121 bytes",
		`{"commands":[` + strings.Repeat(`{"type":"reply"},`, 256) + `{"type":"reply"}]}`: "commands: 257",
	} {
		if _, err := parseCommands([]byte(body)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.80s: %v; want %q", body, err, want)
		}
	}
}

// Whatever parseCommands accepts can be carried out.
func FuzzParseCommands(f *testing.F) {
	f.Add([]byte(`{"commands":[{"type":"push","to":{"users":["a"]},"key":"k","data":"x"},{"type":"push","binary":true,"data":"AP8="}]}`))
	f.Add([]byte(`{"commands":[{"type":"subscribe","topics":["a","b.c"]},{"type":"meta","meta":{"a":1}},{"type":"close","code":3000,"reason":"r"}]}`))
	f.Add([]byte(`{"commands":[{"type":"reply","data":{"a":[1,null]}}]}`))
	f.Fuzz(func(t *testing.T, p []byte) {
		list, err := parseCommands(p)
		if err != nil {
			return
		}
		if !json.Valid(p) || len(list) > maxCommands {
			t.Fatalf("accepted: %q", p)
		}
		for _, c := range list {
			m := message.Message{Target: message.ToAll(), Kind: c.data.kind, Key: c.key, Payload: c.data.bytes}
			if c.target != nil {
				m.Target = *c.target
			}
			if err := m.Check(1 << 20); err != nil {
				t.Errorf("%q: %v", p, err)
			}
			if c.data.json && !json.Valid(c.data.bytes) || c.meta != nil && !json.Valid(c.meta) {
				t.Errorf("%q: %q, %q are not JSON", p, c.data.bytes, c.meta)
			}
			for _, topic := range c.topics {
				if err := message.CheckTopic(topic); err != nil {
					t.Error(err)
				}
			}
		}
	})
}
