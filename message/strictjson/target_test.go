package strictjson

import (
	"reflect"
	"strings"
	"testing"

	"belfry/message"
)

func TestTarget(t *testing.T) {
	sid := message.SID{Node: 1, Shard: 2, Conn: 3}.Format(new([32]byte))
	for in, want := range map[string]message.Target{
		`{"all":true}`:                 message.ToAll(),
		`{"topic":"a/b"}`:              message.ToTopics("a/b"),
		`{ "topics" : [ "a" , "b" ] }`: message.ToTopics("a", "b"),
		`{"user":"J\u00f6rg /.."}`:     message.ToUsers("Jörg /.."),
		`{"users":["u"]}`:              message.ToUsers("u"),
		`{"session":"` + sid + `"}`:    message.ToSessions(sid),
		`{"sessions":["` + sid + `"]}`: message.ToSessions(sid),
	} {
		if got, err := Target([]byte(in)); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
}

func TestTargetRefusals(t *testing.T) {
	for in, want := range map[string]string{
		`"all"`:                     "to: must be an object with one of all, topic",
		`["all"]`:                   "to: must be an object with one of all, topic",
		`{}`:                        "to: 0 fields; allowed is one of all, topic",
		`{"topic":"a","user":"b"}`:  "to: 2 fields; allowed is one of all, topic",
		`{"topic":"a","topic":"b"}`: "to.topic: given more than once",
		`{"all":false}`:             "to.all: must be true",
		`{"all":"true"}`:            "to.all: must be true",
		`{"room":"a"}`:              "to.room: unknown; allowed are all, topic",
		`{"Topic":"a"}`:             "to.Topic: unknown",
		`{"topic":["a"]}`:           "to.topic: must be a string",
		`{"topic":"a..b"}`:          `to.topic: "a..b" has an empty token between dots`,
		`{"topics":"a"}`:            "to.topics: must be an array of strings",
		`{"topics":[]}`:             "to.topics: 0 names; allowed are 1 to 256",
		`{"topics":["a",1]}`:        "to.topics[1]: must be a string",
		`{"topics":["a","b.>"]}`:    `to.topics: "b.>" has a character outside`,
		`{"user":"a\u0000"}`:        "to.user: control character",
		`{"user":"\ud800"}`:         "to.user: holds half a surrogate pair",
		`{"users":[""]}`:            "to.users: 0 bytes long",
		`{"session":"x"}`:           "to.session: 1 characters long",
		`{"sessions":["x"]}`:        "to.sessions: 1 characters long",
		`{` + strings.Repeat(`"a":0,`, MaxFields) + `"a":0}`: "to: more than 16 fields",
		`{"` + strings.Repeat("é", 100) + `":1}`:             "to." + strings.Repeat("é", 16) + "…: unknown",
	} {
		if got, err := Target([]byte(in)); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %+v, %v; want %s", in, got, err, want)
		}
	}
}
