package config

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "belfry.yaml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// TestPrecedence has every subset of the sources set the same setting: the
// source with the highest precedence wins.
func TestPrecedence(t *testing.T) {
	values := []int{7, 6, 5, 0} // by flag, variable, file, default
	for present := range 8 {
		src, want := Inputs{}, 3
		if present&4 != 0 {
			src.File, want = write(t, "shards: 5\n"), 2
		}
		if present&2 != 0 {
			src.Env, want = []string{"BELFRY_SHARDS=6"}, 1
		}
		if present&1 != 0 {
			src.Flags, want = []Assignment{{"--shards", "shards", "7"}}, 0
		}
		l, err := Load(src)
		if err != nil {
			t.Fatal(err)
		}
		if l.Shards != values[want] {
			t.Errorf("sources %03b: shards %d; want %d", present, l.Shards, values[want])
		}
		origin := [...]string{"--shards", "BELFRY_SHARDS", src.File + ":1:9", "default"}[want]
		if got := l.Sources["shards"].String(); got != origin {
			t.Errorf("sources %03b: origin %q; want %q", present, got, origin)
		}
	}
}

func TestEnvironment(t *testing.T) {
	l, err := Load(Inputs{Env: []string{
		"BELFRY_SESSION_PING_INTERVAL=30s",
		"BELFRY_NATS_TLS_CA=/etc/ca.pem",
		"BELFRY_LISTEN=:9000-9019,[::1]:80",
		"BELFRY_NODE_NAME=",       // counts as not set
		"BELFRY_SESION_IDLE=1s",   // a typo is reported and not fatal
		"BELFRY_SERVICE_HOST=::1", // Kubernetes sets these for a service named belfry
		"OTHER_SHARDS=9",
	}})
	if err != nil {
		t.Fatal(err)
	}
	if l.Session.PingInterval != 30*time.Second || l.NATS.TLS.CA != "/etc/ca.pem" || l.Node.Name != "" {
		t.Errorf("got %+v", l.Config)
	}
	if want := []string{":9000-9019", "[::1]:80"}; !reflect.DeepEqual(l.Listen, want) {
		t.Errorf("listen %q; want %q", l.Listen, want)
	}
	if want := []string{"BELFRY_SERVICE_HOST", "BELFRY_SESION_IDLE"}; !reflect.DeepEqual(l.Unknown, want) {
		t.Errorf("unknown %q; want %q", l.Unknown, want)
	}
}

// TestDev: dev changes the defaults of settings that were not set, and nothing
// else.
func TestDev(t *testing.T) {
	l, err := Load(Inputs{Env: []string{"BELFRY_DEV=true"}})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(l.Listen, []string{"127.0.0.1:8080"}) || !reflect.DeepEqual(l.Auth.Subscribe, []string{"*"}) {
		t.Errorf("dev: listen %q, open topics %q", l.Listen, l.Auth.Subscribe)
	}
	l, err = Load(Inputs{
		File:  write(t, "dev: true\nauth: {subscribe: []}\n"),
		Flags: []Assignment{{"--listen", "listen", ":8080"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(l.Listen, []string{":8080"}) || len(l.Auth.Subscribe) != 0 {
		t.Errorf("dev, told otherwise: listen %q, open topics %q", l.Listen, l.Auth.Subscribe)
	}
}

// TestCheck: the place and the text of every kind of error in a file.
func TestCheck(t *testing.T) {
	for _, tc := range []struct {
		name, text string
		want       []string // the beginning of each error, without the line of the file
	}{
		{"empty", "", nil},
		{"comments only", "# nothing\n---\n# here\n", nil},
		{"good", "shards: 4\nsession:\n  ping_interval: 0\nlisten: ':9000'\nnode:\n", nil},
		{"flow", "{shards: 4, log: {level: debug}}", nil},
		{"block text", "node:\n  name: >-\n    edge-1\n", nil},
		{"unknown", "shard: 4\n", []string{"f.yaml:1:1: shard: no such setting; did you mean shards?"}},
		{"unknown below", "session:\n  png_interval: 4s\n", []string{"f.yaml:2:3: session.png_interval: no such setting; did you mean session.ping_interval?"}},
		{"misplaced", "ping_interval: 4s\n", []string{"f.yaml:1:1: ping_interval: no such setting; did you mean session.ping_interval?"}},
		{"unknown, unlike any", "wibble: 4s\n", []string{"f.yaml:1:1: wibble: no such setting\n"}},
		{"twice", "shards: 1\nshards: 2\n", []string{"f.yaml:2:1: shards: set twice; first at line 1"}},
		{"section twice", "log:\n  level: info\nlog:\n  level: info\n", []string{"f.yaml:3:1: log: set twice"}},
		{"range", "session:\n  ping_interval: 1ms\n", []string{"f.yaml:2:18: session.ping_interval: 1ms; allowed are 0 (no pings) or 1s to 1h"}},
		{"size range", "upgrade: {max_head: 1MiB}\n", []string{"f.yaml:1:21: upgrade.max_head: 1MiB; allowed are 1KiB to 16KiB"}},
		{"enum", "log:\n  format: xml\n", []string{`f.yaml:2:11: log.format: "xml"; allowed are auto, console or json`}},
		{"duration", "session:\n  idle: 25\n", []string{`f.yaml:2:9: session.idle: "25" is not a duration`}},
		{"bool", "dev: on\n", []string{`f.yaml:1:6: dev: "on" is neither true nor false`}},
		{"list for one", "shards: [1]\n", []string{"f.yaml:1:9: shards: one integer is wanted, not a list"}},
		{"map for one", "shards:\n  a: 1\n", []string{"f.yaml:2:4: shards: one integer is wanted"}},
		{"one for section", "nats: 3\n", []string{"f.yaml:1:7: nats: settings are wanted here"}},
		{"no value", "shards:\n", []string{"f.yaml:1:9: shards: no value"}},
		{"list at the top", "- 1\n", []string{"f.yaml:1:1: settings are wanted here"}},
		{"bad item", "listen: ['x']\n", []string{`f.yaml:1:9: listen: "x" is not host:port`}},
		{"map in list", "listen:\n- a: b\n", []string{"f.yaml:2:4: listen: one list is wanted"}},
		{"anchor", "shards: &a 3\n", []string{"f.yaml:1:9: shards: anchors"}},
		{"tab", "log:\n\tlevel: info\n", []string{"f.yaml:2:1: found character '\t'"}},
		{"open quote", "log:\n  level: \"info\n", []string{"f.yaml:2:10: could not find end"}},
		{"two documents", "shards: 1\n---\nshards: 2\n", []string{"f.yaml:3:7: a second document"}},
		{"all at once", "shards: 999\nwibble: 1\nlog:\n  level: loud\n  format: [json]\n", []string{
			"f.yaml:2:1: wibble: no such setting", "f.yaml:5:11: log.format: one text", "f.yaml:1:9: shards: 999; allowed", "f.yaml:4:10: log.level:"}},
		{"not set, yet wrong", "api:\n  listen: 0.0.0.0:8081\n", []string{"f.yaml:2:11: api.listen: 0.0.0.0:8081 can be reached from other machines"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			err := Check("f.yaml", []byte(tc.text))
			var got Errors
			if err != nil && !errors.As(err, &got) {
				t.Fatalf("error is %T: %v", err, err)
			}
			if len(got) != len(tc.want) {
				t.Fatalf("%d problems; want %d:\n%v", len(got), len(tc.want), err)
			}
			for i, want := range tc.want {
				if !strings.HasPrefix(got[i].Error(), want) {
					t.Errorf("problem %d is\n%v\nwant\n%s", i, got[i], want)
				}
			}
		})
	}
}

func TestSnippet(t *testing.T) {
	err := Check("f.yaml", []byte("log:\n  level: loud # very\n"))
	const want = `f.yaml:2:10: log.level: "loud"; allowed are debug, info, warn or error
    2 |   level: loud # very
      |          ^`
	if err == nil || err.Error() != want {
		t.Errorf("got\n%v\nwant\n%s", err, want)
	}
}

// TestNoSecretInErrors: no error about a setting repeats its secret.
func TestNoSecretInErrors(t *testing.T) {
	for _, text := range []string{
		"api:\n  keys: [hunter2]\n",
		"api:\n  keys:\n  - hunter2\n",
		"nats:\n  password: @hunter2\n",
		"nats:\n  pasword: hunter2\n",
		"nats:\n  password: {a: hunter2}\n",
		"nats:\n  password: &hunter2 hunter2\n",
		"nats:\n  token: 'hunter2\n",
		"nats:\n  user: me\n  password: hunter2\n  token: hunter2\n",
		"nats:\n  url: [\"wibble://me:hunter2@host:1\"]\n",
		"nats:\n  url:\n  - nats://me:hunter2@host:99999\n",
		"nats:\n  url:\n  - \"nats://me:hunter2@ho st:1\"\n",
	} {
		err := Check("f.yaml", []byte(text))
		if err == nil {
			t.Errorf("%q has no problem", text)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error shows the secret:\n%v", text, err)
		}
	}
}

func TestFileMissing(t *testing.T) {
	_, err := Load(Inputs{File: filepath.Join(t.TempDir(), "none.yaml")})
	if err == nil || !strings.HasSuffix(err.Error(), "none.yaml: cannot be read: no such file or directory") {
		t.Errorf("error %v", err)
	}
}

func TestFlagUnknown(t *testing.T) {
	_, err := Load(Inputs{Flags: []Assignment{{"--set", "session.png_interval", "1s"}}})
	const want = "--set: session.png_interval: no such setting; did you mean session.ping_interval?"
	if err == nil || err.Error() != want {
		t.Errorf("error %v; want %s", err, want)
	}
}

func FuzzCheck(f *testing.F) {
	f.Add([]byte("shards: 4\nsession: {idle: 3s}\nlisten: [\":80\"]\n"))
	f.Add([]byte("a: &x [1, {b: *x}]\n? |\n  k\n: v\n---\n..."))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := Check("f.yaml", data); err != nil {
			_ = err.Error() // printing the lines of a file must not panic either
		}
	})
}
